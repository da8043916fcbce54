"""Memory: a run that is sure to have too little ends before it begins, as libraries in C crash or spin without it."""

from __future__ import annotations

import sys
from pathlib import Path

from geoembed.errors import ConfigError

LEAST = 2**29
"""Bytes that the smallest run needs beside its libraries: a thread reserves 72 MiB, and OpenBLAS 32 MiB at a time."""


def require(root: Path = Path("/sys/fs/cgroup")) -> None:
    """Raise ConfigError where this process may have less than LEAST more, by its own limit or that of its group.

    root: where the limits of its control group lie.
    """
    free = {
        "ulimit -v": _below_limit(),
        "the memory of its control group (a container's or a batch job's)": _in_group(root),
    }
    for limit, size in free.items():
        if size is not None and size < LEAST:
            text = f"{max(0, size) // 2**20:,} MiB are left of {limit}, and the smallest run needs {LEAST // 2**20}"
            raise ConfigError(f"not enough memory: {text}; raise that limit")


def _below_limit() -> int | None:
    """Return how many bytes of addresses this process may still ask for; None where there is no limit."""
    if sys.platform != "linux":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return limit - pages * resource.getpagesize()


def _in_group(root: Path) -> int | None:
    """Return how many bytes the control group may still take; None where it has no limit, or there is none (v1)."""
    try:
        limit, taken = ((root / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        cached = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        return int(limit) - int(taken) + int(cached["file"])
    except (OSError, ValueError, KeyError):  # "max" is no limit
        return None
