"""Checks of values against their unit: what is impossible or unusual, its likely cause, and the setting that mends it.

Sentinel-2's offset: from processing baseline 04.00 on (January 2022), reflectance = (DN - 1000) / 10000.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoembed.imagery.rasters import Encoding

BRIGHTEST = 1.6
"""Reflectance above this is no surface's: snow and clouds stay below it, even on slopes that face the sun."""

DARKEST = 0.095, 0.135
"""Between these lies the 1st percentile of reflectance, in every colour, where an offset of 0.1 was not taken off."""

FILLS = (
    -9999.0,
    -99999.0,
    -32768.0,
    -32767.0,
    -3.4028234663852886e38,
    3.4028234663852886e38,
    9.969209968386869e36,
    1e20,
)
"""Stored numbers that stand for no value by custom, of GDAL, numpy and netCDF."""

COMMON_FILLS, FILL_SHARE = (0.0, 65535.0), 0.01
"""Stored numbers that often stand for no value but may be values: asked about from this share of the pixels on."""


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of a channel's values in a sample of pixels; NaN where no pixel is valid.

    channel: its name.
    encoding: how the values are stored. Of SAR stored as power or amplitude, the statistics are of these, not of dB.
    count: number of pixels looked at.
    valid: share of these that are valid.
    fill: the stored number that seems to stand for no value though no tag says so; None where there is none.
    fill_share: share of the valid pixels that have it.
    minimum, maximum: over all valid pixels.
    p1, median, p99, mean: percentiles and mean over the valid pixels without `fill`.
    """

    channel: str
    encoding: Encoding
    count: int
    valid: float
    fill: float | None
    fill_share: float
    minimum: float
    p1: float
    median: float
    p99: float
    maximum: float
    mean: float

    def times(self, factor: float) -> ChannelStatistics:
        """Return the statistics as another scale gives them: of values multiplied by a factor above 0."""
        scaled = {key: getattr(self, key) * factor for key in ("minimum", "p1", "median", "p99", "maximum", "mean")}
        encoding = self.encoding
        encoding = replace(encoding, scale=encoding.scale * factor, offset=encoding.offset * factor)
        return replace(self, encoding=encoding, **scaled)

    def to_json(self) -> dict[str, Any]:
        """Return all but channel and encoding, JSON-ready, with six digits; NaN is None."""
        numbers = {key: value for key, value in asdict(self).items() if key not in ("channel", "encoding")}
        return {
            key: value if value is None or key == "count" else None if np.isnan(value) else float(f"{value:.6g}")
            for key, value in numbers.items()
        }


@dataclass(frozen=True)
class Fault:
    """What is wrong with the values of some channels.

    channels: their names.
    seen: what is seen, and its likely cause.
    setting: the lines for the modality's table in geoembed.toml that mend it, separated by commas; empty: none does.
    advice: what else to know or to do about it.
    impossible: whether the unit cannot have such values; else they are only unusual.
    """

    channels: tuple[str, ...]
    seen: str
    setting: str = ""
    advice: str = ""
    impossible: bool = False

    def text(self, modality: str) -> str:
        """Return the fault and its remedy in one line; `modality` is whose table the settings are for."""
        more = f" and {len(self.channels) - 3} more" if len(self.channels) > 3 else ""
        remedy = f"write {self.setting} under [modalities.{modality}] in geoembed.toml" if self.setting else ""
        return f"{', '.join(self.channels[:3])}{more}: {self.seen}; {' '.join(filter(None, [remedy, self.advice]))}"


Faults: TypeAlias = Iterator[Fault]
Channels: TypeAlias = Sequence[ChannelStatistics]


def statistics(channel: str, values: NDArray[Any], encoding: Encoding) -> ChannelStatistics:
    """Return the statistics of a channel's values, of any shape, NaN where invalid."""
    finite = np.asarray(values[np.isfinite(values)], dtype=np.float64)
    fill, is_fill = _fill(finite, encoding)
    rest = finite if is_fill.all() else finite[~is_fill]
    p1, median, p99 = np.percentile(rest, [1.0, 50.0, 99.0]).tolist() if rest.size else (np.nan,) * 3
    return ChannelStatistics(
        channel=channel,
        encoding=encoding,
        count=int(values.size),
        valid=finite.size / values.size if values.size else 0.0,
        fill=fill,
        fill_share=float(is_fill.mean()) if finite.size else 0.0,
        minimum=float(finite.min()) if finite.size else np.nan,
        p1=p1,
        median=median,
        p99=p99,
        maximum=float(finite.max()) if finite.size else np.nan,
        mean=float(rest.mean()) if rest.size else np.nan,
    )


def _fill(values: NDArray[np.float64], encoding: Encoding) -> tuple[float | None, NDArray[np.bool_]]:
    """Return the stored number that seems to stand for no value, and which values (N,) have it."""
    for number in (*FILLS, *(COMMON_FILLS if encoding.nodata is None else ())):
        value = number * (encoding.scale or 1.0) + encoding.offset
        is_fill = np.isclose(values, value, rtol=1e-5, atol=0.0)
        if is_fill.any() and (number in FILLS or is_fill.mean() >= FILL_SHARE):
            return number, is_fill
    return None, np.zeros(values.shape, dtype=bool)


def faults(unit: str, channels: Channels, modality: str = "NAME") -> list[str]:
    """Return in a line each what is wrong with the channels of one scene, the impossible first; see `examine`.

    modality: whose [modalities] table the remedies are for.
    """
    return [fault.text(modality) for fault in examine(unit, channels)]


def examine(unit: str, channels: Channels) -> list[Fault]:
    """Compare the channels of one scene with what their unit allows; the impossible comes first.

    Of units other than reflectance, dB and coherence, only what no unit has is told: fills, constants, a scale of 0.

    unit: of a value, as modalities declare it.
    """
    kind = next((kind for kind in _CHECKS if re.search(rf"\b{kind}\b", unit, re.IGNORECASE)), None)
    seen = [channel for channel in channels if channel.valid > 0.0]
    found = [*_scale_0(seen), *_fills(seen, kind is not None), *_constant(seen)]
    if kind is not None:
        found += _CHECKS[kind]([channel for channel in seen if channel.encoding.scale])
    return sorted(found, key=lambda fault: not fault.impossible)


def _names(channels: Channels) -> tuple[str, ...]:
    return tuple(channel.channel for channel in channels)


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.8g}"


def _scale_0(channels: Channels) -> Faults:
    wrong = [channel for channel in channels if channel.encoding.scale == 0.0]
    if wrong:
        scale = 1e-4 if max(channel.p99 for channel in wrong) > 255.0 else 1.0
        yield Fault(_names(wrong), "its scale is 0, which makes all values one", f"scale = {scale!r}", impossible=True)


def _fills(channels: Channels, known: bool) -> Faults:
    for number in dict.fromkeys(channel.fill for channel in channels if channel.fill is not None):
        wrong = [channel for channel in channels if channel.fill == number]
        if number in COMMON_FILLS and not known:
            continue
        share = max(channel.fill_share for channel in wrong)
        seen = f"{max(100.0 * share, 0.01):.2g} % of the pixels are {number:g}, which no tag says is no value"
        yield Fault(_names(wrong), seen, f"nodata = {number!r}", impossible=known and number in FILLS)


def _constant(channels: Channels) -> Faults:
    wrong = [channel for channel in channels if channel.minimum == channel.maximum and channel.count > 1]
    values = dict.fromkeys(_number(channel.minimum) for channel in wrong)
    if wrong:
        seen = f"all pixels looked at are {' or '.join(values)}: there is nothing to learn from"
        yield Fault(_names(wrong), seen, advice="check the file, or leave the band out with bands and names")


def _scaled(channels: Channels, limit: float, what: str) -> tuple[list[Fault], float]:
    """Return the fault of values above a limit, whose scale is missing, and the factor that values are to be times."""
    wrong = [channel for channel in channels if channel.p99 > limit]
    if not wrong:
        return [], 1.0
    top, median = max(channel.p99 for channel in wrong), max(channel.median for channel in wrong)
    factor, cause = 1e-4, "counts whose scale is missing"
    if all(channel.encoding.dtype == "uint8" for channel in wrong) and top > 101.0:
        factor, cause = 1.0 / 255.0, "8-bit numbers"
    elif top <= 101.0:
        factor, cause = 0.01, "per cent"
    elif top <= 255.0:
        factor, cause = 1.0 / 255.0, "8-bit numbers"
    scale = float(f"{wrong[0].encoding.scale * factor:.10g}")
    seen = f"values up to {_number(top)}, but {what}; they look like {cause}"
    certain = median > limit or top > 10.0 * limit
    return [Fault(_names(wrong), seen, f"scale = {scale!r}", impossible=certain)], factor


def _reflectance(channels: Channels) -> Faults:
    scaled, factor = _scaled(channels, BRIGHTEST, "reflectance is a share from 0 to 1")
    yield from scaled
    channels = [channel.times(factor) for channel in channels]
    below = [channel for channel in channels if channel.p1 < -0.03]
    if below:
        lowest = _number(min(channel.p1 for channel in below))
        setting, advice = ("offset = 0.0", "") if below[0].encoding.offset < 0.0 else ("", "check scale and offset")
        yield Fault(_names(below), f"more than 1 % of the values lie below 0, down to {lowest}", setting, advice)
    for season in dict.fromkeys(channel.channel.rpartition("_")[0] for channel in channels):
        scene = [channel for channel in channels if channel.channel.rpartition("_")[0] == season]
        yield from _offset(scene)
        yield from _order({channel.channel.rpartition("_")[2]: channel for channel in scene})


def _offset(channels: Channels) -> Faults:
    """Tell of dark pixels at 0.1 in every band: water and shadow are darker than that in at least one."""
    darkest = sorted(channel.p1 for channel in channels)[:3]
    if len(darkest) > 1 and DARKEST[0] <= darkest[0] and darkest[-1] <= DARKEST[1] and np.ptp(darkest) < 0.03:
        offset = float(f"{channels[0].encoding.offset - 0.1:.6g}")
        seen = f"the darkest pixels have {darkest[0]:.2f} or more in every band, as with Sentinel-2's offset of +1000"
        yield Fault(_names(channels), seen, f"offset = {offset!r}")


def _order(channels: dict[str, ChannelStatistics]) -> Faults:
    """Tell of ground that is brighter in blue than in green and in green than in red: red and blue changed places."""
    if not {"red", "green", "blue"} <= channels.keys():
        return
    red, green, blue = (channels[colour] for colour in ("red", "green", "blue"))
    soil = [channel.p99 for channel in (red, green, blue)]  # the brightest ground, which water is not
    if 0.15 < soil[2] < 0.6 and soil[0] * 1.2 < soil[1] * 1.1 < soil[2]:
        seen = "bright ground is brighter in blue than in red, which is rare: the bands may be in another order"
        advice = "check bands and names (of Sentinel-2, red is B04 and blue B02)"
        yield Fault(_names([red, green, blue]), seen, advice=advice)


def _coherence(channels: Channels) -> Faults:
    yield from _scaled(channels, 1.05, "coherence is a share from 0 to 1")[0]
    below = [channel for channel in channels if channel.p1 < -0.01]
    if below:
        lowest = _number(min(channel.p1 for channel in below))
        seen = f"more than 1 % of the values lie below 0, down to {lowest}"
        yield Fault(_names(below), seen, advice="check scale and offset")


def _decibel(channels: Channels) -> Faults:
    """Tell of SAR whose numbers are not what `stored` says: dB, power or amplitude."""
    in_db = [channel for channel in channels if channel.encoding.stored in ("db", "value")]
    as_power = [channel for channel in channels if channel.encoding.stored in ("linear", "amplitude")]
    positive = [channel for channel in in_db if channel.p1 >= 0.0 and channel.minimum >= 0.0]
    low = [channel for channel in in_db if channel.median < -50.0]
    negative = [channel for channel in as_power if channel.median < 0.0]
    if positive:
        top = max(channel.p99 for channel in positive)
        seen = f"no value is below 0 (up to {_number(top)}), but gamma0 of land and water in dB is"
        seen, setting, advice = (
            f"{seen}: they look like power",
            'stored = "linear"',
            '(or "amplitude", its square root)',
        )
        if top > 50.0:
            seen, setting = seen.replace("power", "counts"), 'scale = 7.0795e-05, stored = "amplitude"'
            advice = "if gamma0 is 20 log10(count) - 83, as of PALSAR; else calibrate them"
        yield Fault(_names(positive), seen, setting, advice, impossible=True)
    if low:
        median = min(channel.median for channel in low)
        factor = next(factor for factor in (0.1, 0.01, 0.001, 1e-4) if median * factor > -50.0 or factor == 1e-4)
        scale = float(f"{low[0].encoding.scale * factor:.10g}")
        seen = f"half of the values lie below {_number(median)}, but gamma0 in dB lies above -50: the scale is missing"
        yield Fault(_names(low), seen, f"scale = {scale!r}", impossible=True)
    if negative:
        median = max(channel.median for channel in negative)
        seen = f"half of the values lie below {_number(median)}, but power is above 0: they look like dB"
        yield Fault(_names(negative), seen, 'stored = "db"', impossible=True)


_CHECKS: dict[str, Callable[[Channels], Faults]] = {
    "reflectance": _reflectance,
    "coherence": _coherence,
    "dB": _decibel,
}
"""What is asked of values of a unit, by the word in it that tells its kind."""
