"""Made-up tiles of ESA WorldCover, of 3,600 x 3,600 pixels in place of 36,000 x 36,000."""

from __future__ import annotations

from functools import cache

import numpy as np
from affine import Affine
from rasterio.io import MemoryFile

from geoembed.labels import legend

SIDE = 3600
KEY = "v200/2021/map/ESA_WorldCover_10m_2021_v200_{}_Map.tif"


@cache
def tile(latitude: int, longitude: int, *, block: int = 256, seed: int = 0) -> bytes:
    """A tile by its lower left corner, degrees north and east: patches of classes, colours, overviews, as a COG."""
    generator = np.random.default_rng(seed)
    classes = np.array([0, *legend.WORLDCOVER.values()], dtype=np.uint8)
    patches = generator.choice(classes, (SIDE // 2, SIDE // 2))
    values = np.kron(patches, np.ones((2, 2), dtype=np.uint8))
    transform = Affine(3 / SIDE, 0.0, longitude, 0.0, -3 / SIDE, latitude + 3)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=1, height=SIDE, width=SIDE, dtype="uint8", crs="EPSG:4326", transform=transform,
            nodata=0, tiled=True, blockxsize=block, blockysize=block, compress="deflate",
        ) as file:  # fmt: skip
            file.write(values, 1)
            file.write_colormap(1, {**legend.COLOURS, 0: (0, 0, 0)})
        with MemoryFile() as cog:
            import rasterio.shutil

            with memory.open() as file:
                rasterio.shutil.copy(file, cog.name, driver="COG", blocksize=block, compress="deflate")
            return bytes(cog.getbuffer())
