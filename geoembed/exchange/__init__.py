"""Embeddings of ours for others, and of others for us: GeoParquet, Zarr, tables and rasters of vectors.

Knows those formats, the conventions for their metadata, and where vectors lie on the ground. Embeddings files stay
those of `fits`; nothing here decides what is kept.
"""
