"""Naming the bands of files that do not describe them: what to write in geoembed.toml, as far as it can be known."""

from collections.abc import Sequence

SEASON = "jja"
"""The season that examples name."""

COLOURS = ("red", "green", "blue")

SENTINEL_2 = {
    10: ("B02 B03 B04 B05 ...", (3, 2, 1)),
    11: ("B01 B02 B03 B04 ...", (4, 3, 2)),
    12: ("B01 B02 B03 B04 ...", (4, 3, 2)),
    13: ("B01 B02 B03 B04 ...", (4, 3, 2)),
}
"""By number of bands, the order in which Sentinel-2's bands mostly lie in a file, and where red, green and blue are."""


def remedy(modality: str, channels: Sequence[str], count: int, *, chosen: bool = False) -> str:
    """Say what to write under a modality's table so that bands without descriptions have names.

    channels: that the modality knows, in the order of seasons.
    count: number of bands, of the whole file or, where `chosen`, of those that `bands` lists.
    """
    table = f"[modalities.{modality}] in geoembed.toml"
    kinds = tuple(dict.fromkeys(channel.rpartition("_")[2] for channel in channels))
    season = f"{SEASON} is an example of the season (djf, mam, jja or son)"
    if kinds == COLOURS and count in SENTINEL_2 and not chosen:
        order, bands = SENTINEL_2[count]
        lines = f"bands = {list(bands)} and names = {_list(_of(COLOURS))}"
        return f"write {lines} under {table}, if they are Sentinel-2's {order} in this order (check it); {season}"
    if count == len(channels):
        return f"write names = {_list(channels)} under {table}, if they are in this order"
    if kinds and (count == len(kinds) or (count < len(kinds) and kinds != COLOURS)):
        return f"write names = {_list(_of(kinds[:count]))} under {table}, if they are in this order; {season}"
    if not channels:
        names = [modality] if count == 1 else [f"{modality}_{number}" for number in range(1, count + 1)]
        return f"write names = {_list(names)} under {table}, or better ones"
    some = "bands = [...], the numbers of those to use, and names = [...]"
    if chosen or count <= len(kinds):
        some = "names = [...], a name for each band"
    return f"write {some} under {table}, such as {', '.join(_of(kinds))}"


def of_some(names: Sequence[str], count: int) -> str:
    """Say what to write where a file has more bands, or fewer, than names."""
    kinds = tuple(name.rpartition("_")[2] for name in names)
    if kinds == COLOURS and count in SENTINEL_2:
        order, bands = SENTINEL_2[count]
        return f"write bands = {list(bands)} beside names, if they are Sentinel-2's {order} in this order (check it)"
    return f"write bands = [...] beside names, the number of each one's band, from 1 to {count}"


def _of(kinds: Sequence[str]) -> list[str]:
    return [f"{SEASON}_{kind}" for kind in kinds]


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
