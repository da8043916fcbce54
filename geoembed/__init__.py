"""Maps from few labels: chips, embeddings and probes for Sentinel-1 and Sentinel-2.

Every command is a function of the same name and options here: it does the work and returns a `progress.Result` with
the paths written, the counts, and what was made. Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from geoembed.version import __version__ as __version__

if TYPE_CHECKING:
    from geoembed.fits.embeddings import open_embeddings
    from geoembed.steps.chip import chip
    from geoembed.steps.embed import embed
    from geoembed.steps.evaluate import evaluate
    from geoembed.steps.export import export
    from geoembed.steps.fetch import fetch
    from geoembed.steps.import_embeddings import import_embeddings
    from geoembed.steps.info import info
    from geoembed.steps.label import label
    from geoembed.steps.label_check import label_check
    from geoembed.steps.label_merge import label_merge
    from geoembed.steps.pretrain import pretrain
    from geoembed.steps.probe import probe
    from geoembed.steps.sample import sample
    from geoembed.steps.search import search
    from geoembed.steps.suggest import suggest

__all__ = [
    "chip", "embed", "evaluate", "export", "fetch", "import_embeddings", "info", "label", "label_check", "label_merge",
    "open_embeddings", "pretrain", "probe", "sample", "search", "suggest",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'geoembed' has no attribute {name!r}")
    home = "geoembed.fits.embeddings" if name == "open_embeddings" else f"geoembed.steps.{name}"
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
