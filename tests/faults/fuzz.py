"""Damages files in all ways and reads them: the same as before, or one clear line, is right; all else is a finding.

Run as a program with a number of cases (and the number of a first case), it prints counts and findings:

    PYTHONPATH=tests python tests/faults/fuzz.py 50000
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from faults import mutations, small_project

SECONDS, AGAIN = 10.0, 30.0
"""Seconds after which a case hangs, and after which it does when it is tried again alone."""

MEMORY = 12 * 2**30
"""Bytes of addresses that a case may ask for, so that none takes the machine's memory."""

SEED = 12


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    path: of one in the small project.
    read: what reads it, in the project's folder; returns what was read.
    edit: changes its content as a program would, from bytes to bytes or in the file.
    by_users: whether people make such files, so that other content is as good.
    part: whether less than the whole may be read of it, as of a journal.
    verb: that reads it too, in a project of its own.
    """

    path: str
    read: Callable[[Path], Any]
    edit: Callable[..., bytes | None] | None = None
    by_users: bool = False
    part: bool = False
    verb: str | None = None


@dataclass
class Outcome:
    """How a case ended.

    word: same, refused, other (allowed), or a finding.
    text: the line, or what is wrong.
    """

    word: str
    text: str = ""
    case: str = ""


FINDINGS = ("traceback", "several lines", "other numbers", "crash", "hang", "fault of this test")


@dataclass
class Counts:
    """Outcomes by kind, and the findings."""

    by_kind: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[Outcome] = field(default_factory=list)

    def add(self, kind: str, outcome: Outcome) -> None:
        """Count an outcome."""
        self.by_kind.setdefault(kind, Counter())[outcome.word] += 1
        if outcome.word in FINDINGS:
            self.findings.append(outcome)

    def __str__(self) -> str:
        words = sorted({word for counter in self.by_kind.values() for word in counter})
        rows = [f"{'kind':28}" + "".join(f"{word:>15}" for word in words)]
        rows += [
            f"{kind:28}" + "".join(f"{counter[word]:>15,}" for word in words)
            for kind, counter in sorted(self.by_kind.items())
        ]
        total = sum(sum(counter.values()) for counter in self.by_kind.values())
        return "\n".join([*rows, f"{total:,} cases, {len(self.findings)} findings"])


def _chips(path: Path) -> Any:
    from geoembed.chips import folder

    found = folder.read(Path("chips"))
    return found.digest, found.channels, found.units, found.grids, found.size


def _chip(path: Path) -> Any:
    from geoembed.chips import folder

    chipset = folder.read(Path("chips"))
    row = int((chipset.index["chip_id"] == path.stem).to_numpy().argmax())
    chip = chipset.read(row, "s2")
    return chip.channels, chip.values.tobytes()


def _journal(path: Path) -> Any:
    from geoembed.outputs import journal

    record, lines = journal.read(path)
    return [] if record is None else [record.digest, *(json.dumps(line, sort_keys=True) for line in lines)]


def _embeddings(path: Path) -> Any:
    from geoembed.fits import embeddings

    file = embeddings.read(path)
    rows = [getattr(file, name).tolist() for name in ("chip_id", "aoi", "split", "lonlat", "bounds", "present")]
    return rows, {name: values.tobytes() for name, values in file.arrays().items()}, file.modalities, file.grids


def _model(path: Path) -> Any:
    import torch

    from geoembed.learning import checkpoint

    trained = checkpoint.read(Path("model"), device=torch.device("cpu"))
    state = {name: tensor.numpy().tobytes() for name, tensor in trained.model.state_dict().items()}
    return state, repr(trained.described)


def _state(path: Path) -> Any:
    from geoembed.learning import checkpoint

    held = checkpoint.read_state(path.parent)
    assert held is not None
    tensors, progress = held
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}, repr(progress)


def _labels(path: Path) -> Any:
    from geoembed.labels import files

    found = files.read(path)
    return found.digest, found.name, found.numeric, found.made_by_label


def _areas(path: Path) -> Any:
    from geoembed.ground import aoi

    return aoi.read((path,))[1]


def _fitted(path: Path) -> Any:
    from geoembed.fits.classifiers import saved

    fitted, described, arrays = saved.read(path)
    state = {name: value.tobytes() for name, value in {**fitted.arrays, **arrays}.items()}
    return state, repr((fitted.classifier.name, fitted.classes, fitted.prior, fitted.penalty, described))


def _info(path: Path, folder: bool = False) -> Any:
    from geoembed.steps.info import info

    return json.dumps(info([path.parent if folder else path], verify=True).report, sort_keys=True, default=str)


def _settings(path: Path) -> Any:
    from geoembed import settings
    from geoembed.cli import OPTIONS
    from geoembed.imagery import modalities, sources

    return settings.read(path, OPTIONS), [repr(sources.find(found)) for found in modalities.read(path, {})]


def _raster(path: Path) -> Any:
    from geoembed.steps.label import label

    with tempfile.TemporaryDirectory() as folder:
        label(path, above=0.1, chips="chips", output=f"{folder}/x.gpkg")
        return small_project.content(Path(folder) / "x.gpkg")


def _exported(path: Path) -> Any:
    return _imported(path)


def _vectors(path: Path) -> Any:
    return _imported(path, chips="chips", column="vector")


def _imported(path: Path, **options: Any) -> Any:
    from geoembed.steps.import_embeddings import import_embeddings

    with tempfile.TemporaryDirectory() as folder:
        import_embeddings(path, output=f"{folder}/x.h5", **options)
        return small_project.content(Path(folder) / "x.h5")


def _style(path: Path) -> Any:
    from geoembed.outputs import styles

    styles.write(path.with_suffix(".gpkg"), styles.splits())
    return None


def _report(path: Path) -> Any:
    from geoembed.evaluation import results

    return results.read(path).drop(columns="seconds").to_csv()


def kinds(world: Path) -> dict[str, Kind]:
    """Return the kinds of files, by name, of a project that `make_world` made."""
    chip = next((world / "chips" / "s2").rglob("*.tif")).relative_to(world)
    document, package = mutations.edit_document, mutations.edit_geopackage
    probe_folder = partial(_info, folder=True)
    found = {
        "chips.json": Kind("chips/chips.json", _chips, document, verb="chip"),
        "index.gpkg": Kind("chips/index.gpkg", _chips, package, verb="chip"),
        "chip": Kind(str(chip), _chip, verb="chip"),
        "journal of chip": Kind("chips/.journal.jsonl", _journal, mutations.edit_journal, part=True, verb="chip"),
        "journal of embed": Kind(
            "half/.e.h5.blocks/journal.jsonl", _journal, mutations.edit_journal, part=True, verb="embed"
        ),
        "journal of evaluate": Kind(
            "half/report/.fits.jsonl", _journal, mutations.edit_journal, part=True, verb="evaluate"
        ),
        "embeddings.h5": Kind("embeddings.h5", _embeddings, mutations.edit_hdf5, verb="probe"),
        "config.json": Kind("model/config.json", _model, document, verb="embed"),
        "weights": Kind("model/weights.safetensors", _model, verb="embed"),
        "state": Kind("half/model/state.safetensors", _state, verb="pretrain"),
        "training.csv": Kind("model/training.csv", probe_folder),
        "labels": Kind("labels/water.gpkg", _labels, package, verb="label"),
        "users' labels.csv": Kind("users/a.csv", _labels, by_users=True),
        "users' labels.geojson": Kind("users/b.geojson", _labels, mutations.edit_json, by_users=True),
        "users' labels.gpkg": Kind("users/c.gpkg", _labels, package, by_users=True),
        "users' labels.xlsx": Kind("users/d.xlsx", _labels, by_users=True),
        "areas.gpkg": Kind("few.gpkg", _areas, package, by_users=True),
        "areas.geojson": Kind("users/e.geojson", _areas, mutations.edit_json, by_users=True),
        "areas.shp": Kind("users/f.shp", _areas, by_users=True),
        "areas.dbf": Kind("users/f.dbf", partial(_beside, ".shp"), by_users=True),
        "areas.prj": Kind("users/f.prj", partial(_beside, ".shp"), by_users=True),
        "metrics.json": Kind("probe/water/metrics.json", probe_folder, document, verb="probe"),
        "probe.skops": Kind("probe/water/probe.skops", _fitted, mutations.edit_archive, verb="probe"),
        "predictions.gpkg": Kind("probe/water/predictions.gpkg", probe_folder, package, verb="probe"),
        "summary.json": Kind("report/summary.json", probe_folder, document, verb="evaluate"),
        "results.csv": Kind("report/results.csv", probe_folder, verb="evaluate"),
        "report.html": Kind("report/report.html", probe_folder, verb="evaluate"),
        "geoembed.toml": Kind("geoembed.toml", _settings, mutations.edit_toml, by_users=True),
        "raster.tif": Kind("users/g.tif", _raster, by_users=True),
        "raster.vrt": Kind("users/h.vrt", _raster, by_users=True),
        "export.parquet": Kind("e.parquet", _exported, verb="export"),
        "users' vectors.parquet": Kind("users/v.parquet", _vectors, by_users=True),
        "style.qml": Kind("labels/water.qml", _style, by_users=True),
    }  # fmt: skip
    return {name: kind for name, kind in found.items() if (world / kind.path).exists()}


def _beside(suffix: str, path: Path) -> Any:
    return _areas(path.with_suffix(suffix))


def verbs() -> dict[str, tuple[Callable[[], Any], str]]:
    """Return what verbs do in the world, and the output of each."""
    from geoembed.steps.chip import chip
    from geoembed.steps.embed import embed
    from geoembed.steps.evaluate import evaluate
    from geoembed.steps.pretrain import pretrain

    works = small_project.WORKS
    return {
        "chip": (lambda: chip("aoi.gpkg", size=small_project.SIZE, workers=1), "chips"),
        "label": (works["label"].run, "labels/water.gpkg"),
        "pretrain": (
            lambda: pretrain(epochs=2.0, batch_size=8, workers=1, device="cpu", output="half/model"),
            "half/model",
        ),
        "embed": (lambda: embed(workers=1, device="cpu", batch_size=12, output="half/e.h5"), "half/e.h5"),
        "probe": (works["probe"].run, "probe/water"),
        "export": (works["export"].run, "e.parquet"),
        "evaluate": (
            lambda: evaluate(
                labels="labels/water.gpkg",
                sizes="all",
                n=8,
                repeats=1,
                features="s2",
                device="cpu",
                output="half/report",
            ),
            "half/report",
        ),
    }


def make_world(folder: Path) -> None:
    """Write a project with every kind of file: finished outputs, half-done ones in half/, and users' files."""
    import geopandas
    import numpy as np
    import pandas as pd
    import pyogrio
    import shapely
    from places import write

    from geoembed.steps import embed as embed_step
    from geoembed.steps.pretrain import pretrain

    small_project.make(folder)
    with small_project.inside(folder):
        users = Path("users")
        users.mkdir()
        index = geopandas.read_file("chips/index.gpkg")
        points = index.to_crs("EPSG:32632").geometry.centroid.to_crs("EPSG:4326")
        label = [["water", "land"][i % 2] for i in range(len(index))]
        table = geopandas.GeoDataFrame({"label": label}, geometry=points)
        pd.DataFrame({"lon": points.x, "lat": points.y, "label": label}).to_csv(users / "a.csv", index=False)
        table.to_file(users / "b.geojson")
        table.to_file(users / "c.gpkg")
        sheet = pd.DataFrame({"chip_id": index["chip_id"], "label": [i % 2 for i in range(len(index))]})
        pyogrio.write_dataframe(sheet, users / "d.xlsx", driver="XLSX")
        vectors = [[float(i), 1.0] for i in range(len(index))]
        geopandas.GeoDataFrame({"vector": vectors}, geometry=points).to_parquet(users / "v.parquet")
        square = shapely.box(*index.total_bounds)
        area = geopandas.GeoDataFrame({"name": ["here"]}, geometry=[square], crs="EPSG:4326")
        area.to_file(users / "e.geojson")
        area.to_file(users / "f.shp")
        numbers = np.random.default_rng(1).random((1, small_project.SIDE, small_project.SIDE)).astype("float32")
        write(users / "g.tif", numbers, ("height",))
        (users / "h.vrt").write_text(VRT)
        _half(pretrain.steps(epochs=2.0, batch_size=8, workers=1, device="cpu", output="half/model"), 5)
        embed_step.CHUNK_SECONDS, before = 0.0, embed_step.CHUNK_SECONDS
        _half(embed_step.embed.steps(workers=1, device="cpu", batch_size=12, output="half/e.h5"), 2)
        embed_step.CHUNK_SECONDS = before
        from geoembed.steps.evaluate import evaluate

        steps = evaluate.steps(
            labels="labels/water.gpkg", sizes="all", n=8, repeats=1, features="s2", device="cpu", output="half/report"
        )
        _half(steps, 8)


VRT = f"""<VRTDataset rasterXSize="{small_project.SIDE}" rasterYSize="{small_project.SIDE}">
<SRS>EPSG:32632</SRS><GeoTransform>499200, 10, 0, 4999680, 0, -10</GeoTransform>
<VRTRasterBand dataType="Float32" band="1"><SimpleSource><SourceFilename relativeToVRT="1">g.tif</SourceFilename>
<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>
"""


def _half(steps: Any, count: int) -> None:
    """Interrupt a step after some of its progress."""
    for _ in range(count):
        next(steps)
    with suppress(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt)


def _hashed(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "backslashreplace")).hexdigest()


class Cases:
    """Runs cases in a copy of the world."""

    def __init__(self, world: Path) -> None:
        self.world = world
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.here = self.folder / "world"
        shutil.copytree(world, self.here)
        self.kinds = kinds(world)
        self._expected: dict[str, Any] = {}

    def run(self, number: int) -> tuple[str, Outcome]:
        """Run a case; return its kind and its outcome."""
        rng = random.Random(f"{SEED}-{number}")
        name = rng.choice(sorted(self.kinds))
        kind = self.kinds[name]
        is_edit = kind.edit is not None and rng.random() < 0.5
        change = kind.edit.__name__ if is_edit and kind.edit else rng.choice(sorted(mutations.DAMAGE))
        verb = kind.verb if kind.verb and rng.random() < VERB_SHARE else None
        case = f"case {number}: {name}, {change}, {verb or 'reader'}"
        outcome = self._with_verb(kind, change, rng, verb) if verb else self._with_reader(kind, change, rng)
        outcome.case = case
        free = kind.by_users or is_edit
        if outcome.word == "other numbers" and free:
            outcome.word = "other, allowed"
        return name, outcome

    def _change(self, kind: Kind, change: str, rng: random.Random, path: Path) -> None:
        if change in mutations.DAMAGE:
            data = bytearray(path.read_bytes())
            mutations.DAMAGE[change](data, rng)
            path.write_bytes(data)
            return
        assert kind.edit is not None
        if kind.edit in (mutations.edit_geopackage, mutations.edit_hdf5):
            kind.edit(path, rng)
        else:
            path.write_bytes(kind.edit(path.read_bytes(), rng) or b"")

    def _with_reader(self, kind: Kind, change: str, rng: random.Random) -> Outcome:
        path = self.here / kind.path
        before = path.read_bytes()
        with small_project.inside(self.here):
            key = f"{kind.path} {kind.read}"
            if key not in self._expected:
                found = kind.read(Path(kind.path))
                self._expected[key] = found if kind.part else _hashed(found)
            self._change(kind, change, rng, path)
            try:
                outcome = _outcome(lambda: self._compared(kind, key))
            finally:
                path.unlink(missing_ok=True)
                path.write_bytes(before)
                for more in path.parent.glob(f"{path.name}[-.]*"):
                    more.unlink()
        return outcome

    def _compared(self, kind: Kind, key: str) -> bool:
        found = kind.read(Path(kind.path))
        if kind.part:
            return set(found) <= set(self._expected[key])
        return bool(_hashed(found) == self._expected[key])

    def _with_verb(self, kind: Kind, change: str, rng: random.Random, verb: str) -> Outcome:
        run, output = verbs()[verb]
        fresh = self.folder / "fresh"
        shutil.copytree(self.world, fresh)
        try:
            with small_project.inside(fresh):
                if verb not in self._expected:
                    run()
                    self._expected[verb] = _hashed(small_project.content(Path(output)))
                    shutil.rmtree(fresh)
                    shutil.copytree(self.world, fresh)
                    os.chdir(fresh)
                self._change(kind, change, rng, Path(kind.path))
                return _outcome(lambda: self._done(run, verb, output))
        finally:
            shutil.rmtree(fresh)

    def _done(self, run: Callable[[], Any], verb: str, output: str) -> bool:
        run()
        return bool(_hashed(small_project.content(Path(output))) == self._expected[verb])


VERB_SHARE = 0.05


def _outcome(read: Callable[[], bool]) -> Outcome:
    from geoembed.cli import faults
    from geoembed.errors import GeoembedError

    try:
        return Outcome("same") if read() else Outcome("other numbers")
    except (KeyboardInterrupt, SystemExit) as error:
        return Outcome("traceback", repr(error))
    except BaseException as error:
        line = faults.told(error)
        if faults.REPORT in line:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "geoembed" in f.filename]
            place = "; ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames[-3:])
            return Outcome("traceback", f"{line[:300]} at {place}")
        if "\n" in line or not line.strip():
            return Outcome("several lines", line)
        return Outcome("refused" if isinstance(error, GeoembedError) else "refused at the boundary", line)


def serve(connection: Any, world: Path) -> None:
    """Run the cases whose numbers come in, as a process of its own."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where GDAL writes
    logging.disable()
    warnings.simplefilter("ignore")
    cases = Cases(world)
    try:
        connection.send("ready")
        while (number := connection.recv()) is not None:
            try:
                connection.send(cases.run(number))
            except Exception:
                connection.send(("?", Outcome("fault of this test", traceback.format_exc()[-900:], f"case {number}")))
    except EOFError:
        pass
    finally:
        shutil.rmtree(cases.folder, ignore_errors=True)


class Worker:
    """A process that runs cases, one at a time, and is replaced where it hangs or crashes."""

    def __init__(self, world: Path) -> None:
        self._world = world
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self._world), daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(120) or self._connection.recv() != "ready":
            raise RuntimeError("no worker")

    def run(self, number: int, *, again: bool = False) -> tuple[str, Outcome]:
        """Run a case; one that hangs is tried again alone, with more time, in a new process."""
        self._connection.send(number)
        began = time.monotonic()
        try:
            if self._connection.poll(AGAIN if again else SECONDS):
                name, outcome = self._connection.recv()
                return name, outcome
            self._process.kill()
            self._process.join()
            self._start()
            if not again:
                return self.run(number, again=True)
            return "?", Outcome("hang", f"{time.monotonic() - began:.0f} s", f"case {number}")
        except EOFError:
            self._process.join()
            status = self._process.exitcode
            self._start()
            return "?", Outcome("crash", f"exit status {status}", f"case {number}")

    def close(self) -> None:
        """End the process."""
        self._connection.send(None)
        self._process.join(10)
        self._process.kill()


def run(world: Path, numbers: Sequence[int]) -> Iterator[tuple[str, Outcome]]:
    """Run cases in one process beside this one."""
    worker = Worker(world)
    try:
        for number in numbers:
            yield worker.run(number)
    finally:
        worker.close()


def _part(world: Path, numbers: Sequence[int], queue: Any) -> None:
    for result in run(world, numbers):
        queue.put(result)


def main(count: int, first: int = 0) -> int:
    """Run cases in as many processes as there are cores; print counts and findings."""
    from queue import Queue
    from threading import Thread

    counts, queue, began = Counts(), Queue[tuple[str, Outcome]](), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "world"
        logging.disable()
        make_world(world)
        cores = min(count, len(os.sched_getaffinity(0)))
        parts = [range(first + core, first + count, cores) for core in range(cores)]
        threads = [Thread(target=_part, args=(world, part, queue), daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        for done in range(count):
            name, outcome = queue.get()
            counts.add(name, outcome)
            if outcome.word in FINDINGS or count == 1:
                print(f"{outcome.word}: {outcome.case}: {outcome.text}", flush=True)
            if done % 1000 == 999:
                print(f"{done + 1:,} of {count:,}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        for thread in threads:
            thread.join()
    print(counts)
    return 1 if counts.findings else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
