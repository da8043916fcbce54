"""Fetching: what the archives of modalities have for some ground, and getting the parts that are needed into the cache.

A search is written to the cache before anything is made of it, so that all runs over one area use the same scenes.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.env import Env

from geoembed.archives import blocks, composites, pieces, providers, scenes, seasonal, stac
from geoembed.archives.client import Client
from geoembed.archives.composites import Provenance
from geoembed.archives.origin import Origin, SceneUsed, SeasonUsed
from geoembed.archives.pieces import Piece
from geoembed.archives.providers import Provider
from geoembed.archives.scenes import Scene
from geoembed.archives.stac import Found
from geoembed.errors import FetchError
from geoembed.ground import crs as crs_
from geoembed.ground.lattice import GeoBox
from geoembed.imagery.catalogues import Fetch, Season, Seasonal, Stac
from geoembed.imagery.modalities import Modality
from geoembed.imagery.rasters import Raster
from geoembed.outputs import atomic, digests

log = logging.getLogger(__name__)

SEARCHES = "searches"
"""Name of the folder of searches in the cache."""

BYTES_PER_PIXEL = 1.4
"""Bytes of a pixel of a band in the archives' files: 10980 x 10980 pixels of a band have 120 to 220 MB."""

CLASSES_BYTES_PER_PIXEL = 0.015
"""The same of the scene classification, for each pixel of 10 m."""

ABANDONED = 86_400.0
"""Seconds after which a half-written file in the cache is that of a killed run, and not of another that is at work."""

RATE, LATENCY = 20e6, 0.1
"""Bytes a second, and seconds that a request takes, by which the time that fetching takes is reckoned."""


@dataclass
class Cost:
    """What is still to be fetched, about.

    files: pieces and tiles.
    requests: over the net.
    bytes: over the net.
    disk: bytes in the cache.
    """

    files: int = 0
    requests: int = 0
    bytes: float = 0.0
    disk: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(mine + its for mine, its in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def seconds(self, connections: int) -> float:
        """Return about how long it takes."""
        return max(self.bytes / RATE, self.requests * LATENCY / connections)


@dataclass
class Holding:
    """What an archive has for a modality.

    modality: whose archive it is.
    provider: the archive.
    found: scenes, of a catalogue.
    files: of the seasonal data set, by their paths.
    pieces: of which composites are made, by the paths of their files.
    """

    modality: Modality
    provider: Provider
    found: Found | None = None
    files: dict[str, seasonal.File] = field(default_factory=dict)
    pieces: dict[str, Piece] = field(default_factory=dict)

    @property
    def settings(self) -> Stac | Seasonal:
        """Return the settings of the archive."""
        assert self.modality.archive is not None, "a holding is of a modality with an archive"
        return self.modality.archive


class Fetcher:
    """Gets imagery of modalities into the cache; may be used from several threads.

    holdings: what was found, by modality.
    client: makes the requests.
    """

    def __init__(self, modalities: Iterable[Modality], fetch: Fetch, *, offline: bool = False) -> None:
        self._modalities = [modality for modality in modalities if modality.archive is not None]
        self._fetch, self._cache = fetch, Path(fetch.cache)
        known = [_provider(modality) for modality in self._modalities]
        hosts = dict.fromkeys(host for provider in known for host in provider.hosts)
        self.client = Client((*hosts, *fetch.hosts), fetch.tries, fetch.connections, offline)
        if any(isinstance(modality.archive, Stac) and modality.archive.sign for modality in self._modalities):
            self.client.sign = providers.Signer(self.client)
        self.holdings: dict[str, Holding] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._there: dict[str, Provenance | None] = {}
        self._failed: dict[str, FetchError] = {}
        self._expected: Counter[str] = Counter()

    def close(self) -> None:
        """Give up what is in flight; may be called from any thread."""
        self.client.close()

    @property
    def terms(self) -> list[str]:
        """Return whom to name for what is fetched, and its licence, a line for each modality."""
        return [
            f"{name}: {holding.provider.attribution}; {holding.provider.licence}"
            for name, holding in self.holdings.items()
        ]

    @property
    def keeps(self) -> bool:
        """Tell whether files stay once they were used; where not, see `expect` and `release`."""
        return self._fetch.keep

    @property
    def note(self) -> str:
        """Return in words what was fetched so far; empty where nothing was."""
        return f"{self.client.traffic.bytes / 1e6:,.0f} MB fetched" if self.client.traffic.requests else ""

    def require_all(self, remedy: str) -> None:
        """Raise FetchError where files could not be had: with the first fault and their number; the others are told."""
        if not self._failed:
            return
        first, *others = dict.fromkeys(map(str, self._failed.values()))
        for text in others[:9]:
            log.warning("%s", text)
        raise FetchError(f"{first}; {len(self._failed):,} files not fetched: {remedy}")

    def find(self, ground: Any, *, anew: bool = False) -> None:
        """Look up what the archives have for some ground, a geometry in degrees (EPSG:4326); raises FetchError.

        anew: search catalogues that were searched before, unless nobody may be asked.
        """
        atomic.sweep(self._cache, deep=True, older=ABANDONED)
        for modality in self._modalities:
            archive, provider = modality.archive, _provider(modality)
            if isinstance(archive, Stac):
                for note in providers.notes(archive):
                    log.warning("%s: %s", modality.name, note)
                found = self._searched(modality.name, archive, ground, anew)
                self.holdings[modality.name] = Holding(modality, provider, found=found)
            elif isinstance(archive, Seasonal):
                tiles = seasonal.tiles(ground, modality.name, archive, self._cache, self.client)
                files = {str(file.path): file for tile in tiles for file in tile.files}
                self.holdings[modality.name] = Holding(modality, provider, files=files)

    def _searched(self, name: str, archive: Stac, ground: Any, anew: bool) -> Found:
        key = digests.of_value(
            [archive.api, archive.collection, archive.year, archive.seasons, archive.max_cloud,
             archive.classification, archive.assets, shapely.to_wkb(ground, hex=True)]
        )  # fmt: skip
        path = self._cache / SEARCHES / f"{name}-{archive.year}-{key[:16]}.json"
        if path.exists() and not (anew and not self.client.offline):
            try:
                found = stac.read(path)
                log.debug("%s: scenes are those of %s", name, path)
                return found
            except FetchError as error:
                log.warning("%s", error)
        found = stac.search(self.client, archive, ground)
        left = {"duplicates": found.duplicates, "too cloudy": found.cloudy, "unusable": found.unusable}
        told = ", ".join(f"{count:,} {why}" for why, count in left.items() if count)
        log.info("%s: %s scenes found%s", name, f"{len(found.scenes):,}", f"; left out: {told}" if told else "")
        for reason in found.reasons:
            log.warning("%s: %s", name, reason)
        stac.write(path, found)
        return found

    def whole(self, modality: str) -> list[Raster]:
        """Return rasters that tell where an archive has imagery of a modality, before it is known what is needed.

        Those of a catalogue are whole tiles, of which there are no files.
        """
        holding = self.holdings.get(modality)
        if holding is None:
            return []
        if isinstance(holding.settings, Seasonal):
            return [_planned(file) for file in holding.files.values()]
        tiles: dict[str, Scene] = {}
        for scene in holding.found.scenes if holding.found else ():
            if scene.tile not in tiles or pieces.said(tiles[scene.tile]) is None:
                tiles[scene.tile] = scene
        channels = [f"{season}_{name}" for season in holding.settings.seasons for name in holding.settings.assets]
        resampling = holding.settings.resampling
        return [
            pieces.raster(self._box(scene), channels, tile, tile, resampling) for tile, scene in sorted(tiles.items())
        ]

    def plan(self, modality: str, outlines: NDArray[Any]) -> list[Raster]:
        """Return the files of the cache that some ground needs of a modality, whether they are there yet or not.

        outlines: of the ground, (N,) polygons in degrees (EPSG:4326), cut at 180 degrees.
        """
        holding = self.holdings.get(modality)
        if holding is None:
            return []
        if isinstance(holding.settings, Seasonal):
            return [_planned(file) for file in holding.files.values()]
        assert holding.found is not None, "a catalogue was searched"
        by_season: dict[Season, list[Scene]] = {season: [] for season in holding.settings.seasons}
        for scene in holding.found.scenes:
            name, year = scenes.season(scene.time)
            if name in by_season and year == holding.settings.year:
                by_season[name].append(scene)
        folder = self._cache / modality
        planned, left_out = pieces.plan(by_season, outlines, holding.settings, folder, self._box)
        for text in left_out:
            log.warning("%s: %s", modality, text)
        holding.pieces = {str(piece.path): piece for piece in planned}
        return [piece.raster for piece in planned]

    def _box(self, scene: Scene) -> GeoBox:
        """Return where a scene's pixels lie, which its file is asked where the catalogue does not say it."""
        said = pieces.said(scene)
        if said is not None:
            return said
        self._cache.mkdir(parents=True, exist_ok=True)
        boxes = []
        for asset in (*scene.bands.values(), *([scene.classification] if scene.classification else [])):
            with Env(), blocks.opened(self.client, asset.href, self._cache) as remote:
                boxes.append(remote.box)
        box = pieces.finest(boxes)
        if box is None:
            raise FetchError(f"{scene.id}: pixels of its files do not fit into each other; name other assets")
        return box

    def provide(self, near: Sequence[Raster], box: GeoBox) -> list[Raster]:
        """Return the rasters to read a box from, in order of precedence, all of them there; raises FetchError.

        The user's own come first. Of a season's tiles, those of the box's zone are first, and others are made and read
        only where these leave holes.
        """
        own = [raster for raster in near if not raster.recipe]
        found: list[Raster] = []
        by_channels: dict[tuple[str, ...], list[tuple[Piece, Raster]]] = {}
        for raster in near:
            piece = self._piece(raster)
            if piece is not None:
                by_channels.setdefault(raster.channels, []).append((piece, raster))
            elif raster.recipe:
                self._ensure(raster)
                found.append(raster)
        for candidates in by_channels.values():
            found += self._of_season([each for each, _ in candidates], box)
        return own + found

    def _of_season(self, candidates: list[Piece], box: GeoBox) -> list[Raster]:
        """Return the pieces of a season that a box needs, made."""
        chosen: list[Raster] = []
        uncovered = _ground(box, box.crs)
        candidates.sort(key=lambda piece: (not crs_.same(piece.box.crs, box.crs), piece.tile, piece.row, piece.column))
        for piece in candidates:
            ground = _ground(piece.box, box.crs)
            if not shapely.intersects(uncovered, ground) or shapely.intersection(uncovered, ground).area == 0.0:
                continue
            provenance = self._ensure(piece.raster)
            chosen.append(piece.raster)
            if provenance is not None and all(share == 1.0 for share in provenance.valid.values()):
                uncovered = shapely.difference(uncovered, ground)
        return chosen

    def _piece(self, raster: Raster) -> Piece | None:
        return next(
            (holding.pieces[raster.address] for holding in self.holdings.values() if raster.address in holding.pieces),
            None,
        )

    def _ensure(self, raster: Raster) -> Provenance | None:
        """Get a file into the cache unless it is there and intact; raises FetchError, at once where it failed before.

        Returns the provenance of a composite.
        """
        path = raster.address
        with self._lock:
            lock = self._locks.setdefault(path, threading.Lock())
        with lock:
            if path in self._failed:
                raise self._failed[path]
            if path not in self._there:
                try:
                    self._there[path] = self._get(raster)
                except FetchError as error:
                    self._failed[path] = error
                    raise
            return self._there[path]

    def _get(self, raster: Raster) -> Provenance | None:
        piece = self._piece(raster)
        if piece is None:
            file = next(
                found.files[raster.address] for found in self.holdings.values() if raster.address in found.files
            )
            seasonal.fetch(file, self.client)
            return None
        made = composites.made(piece)
        if made is not None:
            return made
        holding = next(found for found in self.holdings.values() if raster.address in found.pieces)
        assert isinstance(holding.settings, Stac), "pieces are those of catalogues"
        with Env():
            return composites.make(piece, self.client, holding.settings)

    def cost(self, modality: str, near: Sequence[Raster]) -> Cost:
        """Return what is still to be fetched of the rasters near some ground, as far as it can be told before."""
        holding = self.holdings[modality]
        wanted = [raster for raster in near if raster.recipe and not raster.path.exists()]
        if isinstance(holding.settings, Seasonal):
            size = sum(holding.files[raster.address].size for raster in wanted)
            return Cost(len(wanted), len(wanted), size, size)
        total = Cost()
        for channels in dict.fromkeys(raster.channels for raster in wanted):
            of_season = [raster for raster in wanted if raster.channels == channels]
            grounds = np.array([_ground(raster, crs_.LONLAT) for raster in of_season])
            tree = shapely.STRtree(grounds)
            for number, (raster, ground) in enumerate(zip(of_season, grounds, strict=True)):
                before = tree.query(ground)
                rest: Any = shapely.difference(ground, shapely.union_all(grounds[before[before < number]]))
                share = rest.area / ground.area  # of ground that several tiles cover, holes only are read again
                total += _cost(holding.pieces[raster.address], holding.settings, share)
        return total

    def expect(self, near: Iterable[Raster]) -> None:
        """Count that rasters will be needed once more; see `release`."""
        self._expected.update(raster.address for raster in near if raster.recipe)

    def release(self, near: Iterable[Raster]) -> None:
        """Count that rasters were used, and delete those that are not expected any more."""
        with self._lock:
            for raster in near:
                if raster.recipe:
                    self._expected[raster.address] -= 1
                    if self._expected[raster.address] <= 0:
                        with suppress(OSError):
                            raster.path.unlink()

    def origin(self, modality: str, near: Mapping[str, Sequence[Raster]]) -> Origin:
        """Return where a modality was fetched from: the archive and its terms, scenes and clear shares.

        near: the rasters near each area.
        """
        holding = self.holdings[modality]
        provider, archive = holding.provider, holding.settings
        if isinstance(archive, Seasonal):
            tiles = {raster.path.parent.name for rasters in near.values() for raster in rasters if raster.recipe}
            return Origin(
                provider.name, provider.licence, provider.attribution, archive.url, tiles=tuple(sorted(tiles))
            )
        told = {path: composites.told(piece) for path, piece in holding.pieces.items()}
        made = {path: provenance for path, provenance in told.items() if provenance is not None}
        return Origin(
            archive=provider.name,
            licence=provider.licence,
            attribution=provider.attribution,
            address=archive.api,
            collection=archive.collection,
            year=archive.year,
            scenes={
                scene.id: SceneUsed(scene.time.date().isoformat(), scene.baseline, scene.offsets)
                for provenance in made.values()
                for scene in provenance.scenes
            },
            dropped={scene: why for provenance in made.values() for scene, why in provenance.dropped.items()},
            areas={area: _seasons(holding, rasters, made) for area, rasters in near.items()},
        )


def _seasons(holding: Holding, rasters: Sequence[Raster], made: Mapping[str, Provenance]) -> dict[str, SeasonUsed]:
    """Return the number of scenes and the share of clear pixels of the composites of an area, by season."""
    found: dict[str, SeasonUsed] = {}
    for season in holding.settings.seasons:
        of_season = [
            (holding.pieces[raster.address], made[raster.address])
            for raster in rasters
            if raster.address in made and holding.pieces[raster.address].season == season
        ]
        pixels = [piece.needed for piece, _ in of_season]
        shares = [float(np.mean(list(provenance.valid.values()))) for _, provenance in of_season]
        found[season] = SeasonUsed(
            scenes=len({scene.id for _, provenance in of_season for scene in provenance.scenes}),
            clear=round(float(np.average(shares, weights=pixels)), 4) if shares else 0.0,
        )
    return found


def _provider(modality: Modality) -> Provider:
    if isinstance(modality.archive, Stac):
        return providers.of_stac(modality.archive)
    assert isinstance(modality.archive, Seasonal), "there are two kinds of archives"
    host = modality.archive.url.partition("://")[2].partition("/")[0]
    return replace(providers.SEASONAL, hosts=(host,))


def _planned(file: seasonal.File) -> Raster:
    return replace(file.raster, recipe=digests.of_value([file.url.rpartition("/")[2], file.md5 or file.size]))


def _ground(box: GeoBox, crs: str) -> Any:
    """Return a box as a polygon in a CRS."""
    mesh = box.mesh(crs)
    return shapely.polygons(np.concatenate([mesh[0], mesh[1:, -1], mesh[-1, -2::-1], mesh[-2::-1, 0]]))


def _cost(piece: Piece, settings: Stac, share: float) -> Cost:
    """Return what making a piece costs, of which a share is counted: requests for headers and for rows of blocks."""
    taken, bands = min(settings.scenes, len(piece.scenes)), len(settings.assets)
    rows = sum(map(any, piece.blocks))
    requests = len(piece.scenes) * 2 + taken * bands * (1 + rows)
    of_bands = piece.needed * taken * bands * BYTES_PER_PIXEL
    of_classes = piece.needed * len(piece.scenes) * CLASSES_BYTES_PER_PIXEL
    disk = piece.needed * bands * BYTES_PER_PIXEL
    return Cost(1, round(requests * share), (of_bands + of_classes) * share, disk * share)
