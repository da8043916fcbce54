"""What an evaluation reads: embeddings, label files, other embeddings, and the chips and model they were made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoembed.errors import ProbeError
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits.curves import OURS
from geoembed.labels import files as label_files
from geoembed.outputs.records import Record
from geoembed.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from geoembed.evaluation.options import Options
    from geoembed.evaluation.origin import Origin
    from geoembed.fits.embeddings import Embeddings
    from geoembed.labels.files import LabelFile, Reading


@dataclass(frozen=True)
class Inputs:
    """What is read.

    embeddings: the embeddings that are measured.
    label_files: a file per task.
    against: other embeddings of the same chips, by their names in the results.
    origin: the chips and the model of the embeddings; None where they are not named.
    reading: how label files were read.
    """

    embeddings: Embeddings
    label_files: tuple[LabelFile, ...]
    against: dict[str, Embeddings]
    origin: Origin | None
    reading: Reading

    def record(self, options: Options) -> Record:
        """Return what outputs are made from."""
        inputs = {
            "embeddings": self.embeddings.digest,
            "against": {name: file.digest for name, file in self.against.items()},
            "chips": self.origin.chipset.digest if self.origin else None,
            "labels": {label_file.name: label_file.digest for label_file in self.label_files},
            "geoembed_version": __version__,
        }
        names = {
            "against": list(self.against),
            "labels": [label_file.path.name for label_file in self.label_files],
            "targets": [label_file.column for label_file in self.label_files],
            "labels_by_hand": [not label_file.made_by_label for label_file in self.label_files],
            "with_chips": self.origin is not None,
            **self.reading.options,
        }
        return Record("evaluate", inputs, names | options.to_json())


def read(
    embeddings: Embeddings,
    labels: Sequence[Path],
    reading: Reading,
    against: Sequence[Path],
    origin: Origin | None,
) -> Inputs:
    """Read label files and other embeddings; raises ProbeError where two would have one name in the results."""
    tasks = tuple(label_files.read(path, reading) for path in labels)
    paths: dict[str, Path] = {}
    for task in tasks:
        if task.name in paths:
            raise ProbeError(
                f"{task.path}: its task is called {task.name}, like that of {paths[task.name]}; rename one"
            )
        paths[task.name] = task.path
    others = {name: embeddings_file.read(path) for name, path in _named(against, origin).items()}
    return Inputs(embeddings, tasks, others, origin, reading)


def _named(against: Sequence[Path], origin: Origin | None) -> dict[str, Path]:
    """Return other embeddings files by their names in the results: stems, with the folder where two are the same."""
    taken = {OURS}
    if origin is not None:
        from geoembed.evaluation import baselines

        taken.update(baselines.KINDS)
    paths: dict[str, Path] = {}
    for path in against:
        name = path.stem if path.stem not in taken | paths.keys() else f"{path.resolve().parent.name}/{path.stem}"
        if name in paths:
            raise ProbeError(f"{path}: is called {name} in the results, like {paths[name]}; rename one")
        paths[name] = path
    return paths
