"""The command line: one module per command, settings from three places, and the one boundary for errors.

Translation only: options in, one call of the step of the same name, a path out. No work is done here.
"""

import importlib

from geoembed.cli.app import FUNCTIONS, OPTIONS, app

COMMANDS = (
    "sample", "fetch", "chip", "label", "label_merge", "pretrain", "embed", "suggest", "label_check", "probe",
    "evaluate", "search", "export", "import", "info",
)  # fmt: skip
"""Names of the functions (but see FUNCTIONS), as the help lists commands: `label_check` is label-check."""

for _name in COMMANDS:
    importlib.import_module(f"geoembed.cli.{FUNCTIONS.get(_name, _name)}")  # which registers the command

__all__ = ["COMMANDS", "FUNCTIONS", "OPTIONS", "app"]
