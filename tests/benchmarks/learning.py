"""What embeddings are worth with few labels: the studies of README.md here, made with the command line from nothing.

Run: PYTHONPATH=tests python tests/benchmarks/learning.py STUDY FOLDER [--data DATA] [--minutes M] [OPTIONS], where
STUDY is earth, eurosat or scenes, FOLDER one for these OPTIONS of `geoembed pretrain`, DATA that of the real scenes.

earth: the simulated Earth; 1 % of the labels against all, chip statistics, and test chips without some inputs.
eurosat: EuroSAT's chips laid at random on the 640 m grid as one raster; accuracy, and each class against the rest.
scenes: the five scenes in 980 chips of 16 pixels, scored on random halves; `--transductive` learns from all of them,
without it from the 577 of the train split, which the tested halves share too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from test_scenes import prepare

from geoembed.fits import curves, embeddings, features
from geoembed.ground.aoi import ALL
from geoembed.labels import files as label_files
from geoembed.labels import targets as targets_of

BIN = Path(sys.executable).parent / "geoembed"

HELD = "--hold-out"
"""All scores are those of the test split, as in the studies."""

EARTH = {"water": "80", "vegetation": "10,20,30", "built": "50", "cropland": "40"}
SCENES = {"water": 1, "trees": 2, "crops": 4, "built": 5}
SIDE = 95
"""EuroSAT's third has 9,003 chips: 95 x 95 cells hold them."""
HALF, DRAWS, SIZES = 490, 20, (20, 50, 100, 200, 490)
"""Of the five scenes: chips that labels are drawn from, random halves, and numbers of labels."""


def geoembed(folder: Path, *words: object) -> None:
    """Run a command in a folder, its progress on this terminal."""
    print("$ geoembed", *words, flush=True)
    subprocess.run([BIN, "-q", *map(str, words)], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def earth(folder: Path, data: Path, minutes: float, options: list[str]) -> None:
    """Evaluate what `minutes` of `tiny` learn of the simulated Earth at 1 % of the train labels."""
    geoembed(folder, "sample", ".")
    geoembed(folder, "chip", "--aoi", "aoi.gpkg")
    words = [word for name, codes in EARTH.items() for word in ("--class", f"{name}={codes}")]
    geoembed(folder, "label", "landcover.tif", *words)
    geoembed(folder, "pretrain", "--minutes", minutes, *options)
    known = ["--modalities", options[options.index("--modalities") + 1]] if "--modalities" in options else []
    geoembed(folder, "embed", *known)
    labels = [word for name in EARTH for word in ("--labels", f"labels/{name}.gpkg")]
    geoembed(
        folder, "evaluate", "--chips", "chips", *labels, "--n", 28, "--sizes", "28,100,500,all", "--repeats", 10, HELD
    )
    show(folder / "report" / "results.csv", 28)


def eurosat(folder: Path, data: Path, minutes: float, options: list[str]) -> None:
    """Probe and evaluate what `minutes` learn of EuroSAT's train chips."""
    if not (folder / "aoi.gpkg").exists():
        lay_out(folder, sorted((data / "eurosat-third").glob("*/*.jpg")))
    geoembed(folder, "chip", "--aoi", "aoi.gpkg")
    geoembed(folder, "pretrain", "--minutes", minutes, *options)
    geoembed(folder, "embed")
    names = sorted(path.stem for path in (folder / "labels").glob("*.gpkg") if path.stem != "class")
    labels = [word for name in names for word in ("--labels", f"labels/{name}.gpkg")]
    geoembed(folder, "evaluate", "--chips", "chips", *labels, "--n", 54, "--sizes", "54,all", "--repeats", 10, HELD)
    show(folder / "report" / "results.csv", 54)
    baselines = sorted((folder / "report" / "baselines").glob("*.h5"))
    for path in (Path("embeddings.h5"), *(path.relative_to(folder) for path in baselines)):
        for n, draws in ((100, 10), (500, 10), (None, 1)):
            scores = []
            for seed in range(draws):
                words = ["--n", n] if n else []
                output = Path("probe") / f"{path.stem}-{n}-{seed}"
                words += ["--labels", "labels/class.gpkg", "--seed", seed, "-o", output, "--decide", "balanced", HELD]
                geoembed(folder, "probe", path, *words)
                scores.append(accuracy(folder / output / "predictions.gpkg"))
            print(f"{path.stem}, accuracy at {n or 'all'} labels: {np.mean(scores):.3f} +- {np.std(scores):.3f}")


def lay_out(folder: Path, files: list[Path]) -> None:
    """Write chips at random places of one raster on the 640 m grid, their classes as polygons, and the settings."""
    left, top = 640 * 780, 640 * (8000 + SIDE)
    pixels, rows = np.zeros((3, SIDE * 64, SIDE * 64), np.uint8), []
    for place, i in enumerate(np.random.default_rng(0).permutation(len(files))):
        r, c = divmod(place, SIDE)
        with rasterio.open(files[i]) as file:
            pixels[:, r * 64 : r * 64 + 64, c * 64 : c * 64 + 64] = file.read()
        cell = shapely.box(left + c * 640, top - r * 640 - 640, left + c * 640 + 640, top - r * 640)
        rows.append((files[i].parent.name, cell))
    with rasterio.open(
        folder / "rgb.tif", "w", driver="GTiff", width=SIDE * 64, height=SIDE * 64, count=3, dtype="uint8",
        crs="EPSG:32632", transform=Affine(10, 0, left, 0, -10, top), compress="zstd", tiled=True,
    ) as raster:  # fmt: skip
        raster.write(pixels)
    table = geopandas.GeoDataFrame(rows, columns=["label", "geometry"], geometry="geometry", crs="EPSG:32632")
    (folder / "labels").mkdir()
    table.to_file(folder / "labels" / "class.gpkg")
    for name in sorted(set(table["label"])):
        table.assign(label=(table["label"] == name).astype(int)).to_file(folder / "labels" / f"{name}.gpkg")
    (folder / "geoembed.toml").write_text(
        '[chip]\nsize = 64\n[modalities.s2]\nsource = "rgb.tif"\n'
        'names = ["jja_red", "jja_green", "jja_blue"]\nscale = 0.00392156862745098\n'
    )
    area = geopandas.GeoDataFrame({"name": ["eurosat"]}, geometry=[table.union_all()], crs="EPSG:32632")
    area.to_file(folder / "aoi.gpkg")


def accuracy(predictions: Path) -> float:
    """Return the share of test chips that a probe gives their own class."""
    table = geopandas.read_file(predictions, ignore_geometry=True)
    table = table[table["split"] == "test"]
    return float((table["prediction"] == table["label"]).mean())


def scenes(folder: Path, data: Path, minutes: float, options: list[str]) -> None:
    """Score what `minutes` learn of the five scenes on random halves of their chips, beside chip statistics."""
    if not (folder / "aoi.gpkg").exists():
        prepare(folder, data, coherence=False)
    geoembed(folder, "chip", "--aoi", "aoi.gpkg", "--align", "s2")
    covers = sorted((data / "five-scenes" / "landcover").glob("*.tif"))
    words = [word for name, code in SCENES.items() for word in ("--class", f"{name}={code}")]
    geoembed(folder, "label", *covers, *words)
    geoembed(folder, "pretrain", "--minutes", minutes, *options)
    geoembed(folder, "embed")
    labels = [word for name in SCENES for word in ("--labels", f"labels/{name}.gpkg")]
    geoembed(folder, "evaluate", "--chips", "chips", *labels, "--sizes", "20,50,100,200", "--repeats", 2, HELD)
    for name, path in (
        ("chip statistics", folder / "report" / "baselines" / "statistics.h5"),
        ("embeddings", folder / "embeddings.h5"),
    ):
        file = embeddings.read(path)
        known = [label_files.read(folder / "labels" / f"{task}.gpkg") for task in SCENES]
        # Every chip has a label.
        truth = [targets_of.join(one, file.chip_id, file.grids).values.astype(int) for one in known]
        for feature in features.names(file):
            scores = halves(features.read(file, feature), truth)
            print(f"{name:16} {feature:7}", *(f"{score:.3f}" for score in scores), flush=True)


def halves(X: NDArray[np.float32], tasks: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return the mean balanced accuracy over tasks and DRAWS random halves at each of SIZES labels.

    Logistic regression with balanced class weights, C = 0.1, on columns standardised by the half that labels are drawn
    from; at least two labels of each class.
    """
    scores = np.zeros(len(SIZES))
    for draw in range(DRAWS):
        rows = np.random.default_rng(draw).permutation(len(X))
        known, tested = rows[:HALF], rows[HALF:]
        Z = (X - X[known].mean(0)) / (X[known].std(0) + 1e-9)
        for y in tasks:
            first = np.concatenate([known[y[known] == one][:2] for one in (0, 1)])
            drawn = np.concatenate([first, known[~np.isin(known, first)]])
            for i, n in enumerate(SIZES):
                model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
                predicted = model.fit(Z[drawn[:n]], y[drawn[:n]]).predict(Z[tested])
                scores[i] += balanced_accuracy_score(y[tested], predicted) / (DRAWS * len(tasks))
    return scores


def show(results: Path, n: int) -> None:
    """Print balanced accuracy per task, source and features, all areas together; `share` is at n labels against all."""
    table = pd.read_csv(results, dtype={"n": str})
    table = table[(table["metric"] == "balanced_accuracy") & (table["classifier"] == "logistic")]
    widest = table["aoi"].isin([ALL, "eurosat"])
    means = table[widest & (table["question"] == "curve")].pivot_table("value", ["task", "source", "features"], "n")
    spread = table[widest & (table["question"] == "curve")].pivot_table(
        "value", ["task", "source", "features"], "n", aggfunc=interval
    )
    few, numbers = str(n), sorted(means.columns.astype(str), key=int)
    means, spread = means[numbers], spread[numbers]
    means["share"] = means[few] / means.iloc[:, -1]
    print(means.join(spread[[few]].rename(columns={few: f"+- {few}"})).round(3).to_string())
    gone = table[widest & (table["question"] == "missing") & (table["n"] == few)]
    if len(gone):
        print(
            gone.pivot_table("value", "tested", "task").assign(mean=lambda one: one.mean(axis=1)).round(3).to_string()
        )


def interval(values: pd.Series[float]) -> float:
    """Return half the 95 % interval of a mean over draws; 0 for a single draw."""
    point = curves.point(0, list(values))
    return (point.high - point.low) / 2 if point.draws > 1 else 0.0


STUDIES = {"earth": (earth, 10.0), "eurosat": (eurosat, 30.0), "scenes": (scenes, 15.0)}


def main() -> None:
    """Run one study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--minutes", type=float)
    asked, options = parser.parse_known_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    run, minutes = STUDIES[asked.study]
    run(asked.folder, asked.data, asked.minutes or minutes, options)


if __name__ == "__main__":
    main()
