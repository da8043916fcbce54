"""Runs geoembed under limits of the machine, many times: libraries are imported once, and each run is a fork."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMPORTS = (
    "torch", "rasterio", "geopandas", "sklearn.linear_model", "h5py", "scipy.spatial", "skops.io", "matplotlib",
    "encodings.utf_8_sig", "encodings.idna", "pwd", "geoembed.__main__", "geoembed.cli", "geoembed.steps.chip",
    "geoembed.steps.label", "geoembed.steps.pretrain", "geoembed.steps.embed", "geoembed.steps.probe",
    "geoembed.steps.evaluate", "geoembed.steps.search",
)  # fmt: skip


@dataclass
class Ended:
    """How a run ended.

    status: as the shell has it; negative: the number of a signal.
    """

    status: int
    stdout: str
    stderr: str


class Launcher:
    """A process that forks itself for each run."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._read() == "ready"

    def _read(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def run(
        self,
        folder: Path,
        *words: object,
        limits: dict[str, int] | None = None,
        user: int | None = None,
        seconds: float = 60.0,
    ) -> Ended:
        """Run geoembed in a folder; one that takes longer than so many seconds is killed (status -9).

        limits: by their names in the module `resource`; RLIMIT_AS is counted beyond what is taken before.
        user: the number of the user that it runs as.
        """
        assert self._process.stdin
        asked = [str(folder), [str(word) for word in words], limits or {}, user, seconds]
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Ended(*self._read())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _run(
    folder: str, words: list[str], limits: dict[str, int], user: int | None, seconds: float
) -> tuple[int, str, str]:
    (out_end, out), (err_end, err) = os.pipe(), os.pipe()  # which limits of file sizes leave alone
    child = os.fork()
    if child == 0:
        _become(folder, words, limits, user, out, err)
    ends = time.monotonic() + seconds
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > ends:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    _, status = os.waitpid(child, 0)
    texts = []
    for number, end in ((out, out_end), (err, err_end)):
        os.close(number)
        with os.fdopen(end, "rb") as file:
            texts.append(file.read().decode("utf-8", "backslashreplace"))
    return os.waitstatus_to_exitcode(status), texts[0], texts[1]


def _become(folder: str, words: list[str], limits: dict[str, int], user: int | None, out: int, err: int) -> None:
    status = 99
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(folder)
        for name, value in {"RLIMIT_CORE": 0, **limits}.items():
            number = getattr(resource, name)
            if name == "RLIMIT_AS":  # beyond what is there already
                with open("/proc/self/statm") as file:  # noqa: PTH123
                    value += int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(number, (value, value))
        if user is not None:
            os.setgid(user)
            os.setuid(user)
        sys.argv = ["geoembed", *words]
        sys.modules["geoembed.__main__"].main()
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve() -> None:
    import importlib

    for name in IMPORTS:
        importlib.import_module(name)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(_run(*json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()
