from dataclasses import replace

import numpy as np
from conftest import WriteRaster

from geoembed.imagery import samples, sources
from geoembed.imagery.modalities import BUILT_IN, Source
from geoembed.imagery.windows import Readers

S2 = BUILT_IN[0]


def test_all_of_a_small_raster_is_looked_at(write_raster: WriteRaster) -> None:
    numbers = np.arange(2 * 50 * 60, dtype="uint16").reshape(2, 50, 60)
    path = write_raster("a.tif", numbers, names=("jja_red", "jja_green"), scale=0.5, offset=-3.0, nodata=7)
    (raster,) = sources.find(replace(S2, sources=(Source((str(path),)),)))
    red, green = samples.statistics(raster, Readers())
    assert (red.channel, red.count, red.valid) == ("jja_red", 3000, 2999 / 3000)
    assert (red.minimum, red.maximum) == (-3.0, 2999 * 0.5 - 3.0)
    assert (green.minimum, green.median) == (1497.0, np.median(numbers[1]) * 0.5 - 3.0)


def test_windows_are_spread_over_a_large_raster(write_raster: WriteRaster) -> None:
    rows = np.broadcast_to(np.arange(3000, dtype="int16")[:, None], (3000, 2000))[None]
    path = write_raster("a.tif", rows, names=("jja_red",))
    (raster,) = sources.find(replace(S2, sources=(Source((str(path),)),)))
    sampled = samples.values(raster, Readers())["jja_red"]
    assert sampled.size == 9 * 128 * 128
    assert set(np.unique(sampled)) == {*range(436, 564), *range(1436, 1564), *range(2436, 2564)}
    assert samples.values(raster, Readers(), 1)["jja_red"].size == 128 * 128
