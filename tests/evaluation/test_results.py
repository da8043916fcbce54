import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import embeddings_file

from geoembed.evaluation import protocol, results
from geoembed.evaluation.options import Options
from geoembed.evaluation.protocol import Layout
from geoembed.fits.curves import Fit
from geoembed.labels.targets import Targets


def fit(**other: Any) -> Fit:
    told: dict[str, Any] = {
        "question": "curve", "source": "embeddings", "task": "water", "aoi": "all", "tested": "all", "features": "s2",
        "classifier": "ridge", "n": 10, "seed": 0, "whole": False, "scores": {"f1": 0.5}, "seconds": 0.25,
    }  # fmt: skip
    return Fit(**told | other)


def test_a_row_per_fit_and_metric(tmp_path: Path) -> None:
    results.write(tmp_path / "r.csv", [fit(scores={"f1": 0.123456789, "roc_auc": math.nan}), fit(n=20, seed=3)])
    lines = (tmp_path / "r.csv").read_text().splitlines()
    assert lines == [
        "task,aoi,features,classifier,n,seed,metric,value,seconds,source,question,tested",
        "water,all,s2,ridge,10,0,f1,0.123457,0.250000,embeddings,curve,all",
        "water,all,s2,ridge,10,0,roc_auc,,0.250000,embeddings,curve,all",
        "water,all,s2,ridge,20,3,f1,0.500000,0.250000,embeddings,curve,all",
    ]
    table = results.read(tmp_path / "r.csv")
    assert tuple(table.columns) == results.COLUMNS and table["value"].isna().tolist() == [False, True, False]


def test_no_name_is_a_formula_and_all_are_read_as_they_are(tmp_path: Path) -> None:
    names = ["=1+1", "+a", "-a", "@a", "\ta", "'=a", "''@a", "'a", "NA", "007", "a,b", 'a"b', "nan", "1.0"]
    results.write(
        tmp_path / "r.csv", [fit(task=name, aoi=name, source=name, tested=name, n=i) for i, name in enumerate(names)]
    )
    with (tmp_path / "r.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    table = results.read(tmp_path / "r.csv")
    assert all(table[column].tolist() == names for column in ("task", "aoi", "source", "tested"))
    assert results.is_ours(tmp_path / "r.csv")


def layout(folder: Path) -> Layout:
    vectors = np.ones((200, 2), np.float32)
    file = embeddings_file(folder / "e.h5", {"s2": vectors, "fused": vectors}, columns=20, aois=2)
    tasks = [Targets(name, "", np.zeros(200), (0, 1)) for name in ("water", "crops")]
    asked = Options(
        (10,), True, n=10, repeats=2, classifiers=("ridge", "knn"), features=("s2", "fused"), seed=0, hold_out=True
    )
    return protocol.layout(file, tasks, asked)


def test_fits_come_in_the_order_of_a_reader(tmp_path: Path) -> None:
    wanted = [
        fit(),
        fit(seed=1),
        fit(n=20),
        fit(aoi="aoi0"),
        fit(task="crops"),
        fit(features="fused"),
        fit(classifier="knn"),
        fit(question="split"),
        fit(question="missing", tested="nothing"),
        fit(question="missing", tested="without s2"),
        fit(question="missing", tested="10 % of channels"),
        fit(source="zones"),
        fit(source="baseline"),
    ]
    laid = layout(tmp_path)
    assert results.in_order(wanted, laid) == wanted
    # Names that the options do not order (sources, what is missing) keep the order in which they were first met.
    mixed = [*wanted[6:9][::-1], *wanted[9:], *wanted[:6][::-1]]
    assert results.in_order(mixed, laid) == wanted
