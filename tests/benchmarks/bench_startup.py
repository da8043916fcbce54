"""How long `geoembed --help` takes against `python -c "import typer"`.

Run: python tests/benchmarks/bench_startup.py.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15


def seconds(*words: str | Path) -> float:
    """Time one process."""
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the ratio, paired run by run, after one run of each."""
    ours = (Path(sys.executable).parent / "geoembed", "--help")
    typer = (sys.executable, "-c", "import typer")
    seconds(*ours), seconds(*typer)
    ratios = [seconds(*ours) / seconds(*typer) for _ in range(ROUNDS)]
    print(f"geoembed --help takes {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) x import typer")


if __name__ == "__main__":
    main()
