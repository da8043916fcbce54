"""Options under which GDAL fetches nothing: a belt beside the checks of what files name.

rasterio and pyogrio each carry a GDAL of their own, and each is to be told.
"""

OPTIONS = {
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",  # of all addresses under /vsicurl/, /vsis3/ and the like
    "GDAL_HTTP_PROXY": "0.0.0.0:0",  # of all else that is fetched: nothing can listen there
    "GML_DOWNLOAD_SCHEMA": "NO",
}
"""GDAL's configuration options, by name."""
