"""Asks whether anything that requirements.lock pins, or PyTorch, has known faults: a part of `make check`.

Exits with 0 when nothing is known; with 0 too, but aloud, when the service could not be asked; with 1 when a fault is
known, or when pip-audit failed in another way. Options are passed on to pip-audit, as `--ignore-vuln ID`.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"

SECONDS, EACH = 120, 10
"""Seconds that all questions may take together, and that one answer may be waited for."""

NO_ANSWER = re.compile(
    r"^(?:(?:requests|urllib3|pip_audit\._service)\.[\w.]+: "
    r"|ERROR:pip_audit\._cli:(?=Could not connect|PyPI is not))(.*)",
    re.MULTILINE,
)
"""The lines that say why pip-audit had no answer. Of its own errors it words only the time-out."""


def audit(lock: Path, *options: str, seconds: float = SECONDS) -> tuple[int, str]:
    """Ask about each pin of a lock file, and PyTorch as installed; return the exit status and what to say."""
    pins = re.findall(r"^(\S+==\S+(?: ;[^\\\n]*)?)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    torch = metadata.version("torch").partition("+")[0]  # a build's name after the plus is not the service's
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "requirements.txt"
        plain.write_text("\n".join([*pins, f"torch=={torch}"]), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
        command += ["--timeout", str(EACH), "--no-deps", "--disable-pip", "--requirement", str(plain), *options]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        except subprocess.TimeoutExpired:
            return 0, f"skipped, could not ask: no answer within {seconds:g} s"
    return judged(done)


def judged(done: "subprocess.CompletedProcess[str]") -> tuple[int, str]:
    """Return the exit status and what to say of what pip-audit did."""
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reasons = NO_ANSWER.findall(done.stderr)
        if reasons:
            return 0, f"skipped, could not ask: {reasons[-1]}"
        return 1, f"failed with exit status {done.returncode}:\n{done.stderr}"
    faults = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'none'}"
        for package in packages
        for fault in package.get("vulns", [])
    ]
    unasked = [package for package in packages if "skip_reason" in package]
    if len(unasked) == len(packages):  # as where a mirror of the index has no advisories
        return 0, f"skipped, could not ask about any of {len(packages)} packages: {unasked[0]['skip_reason']}"
    lines = [f"{len(packages) - len(unasked)} packages, {len(faults)} known faults", *faults]
    lines += [f"skipped {package['name']}: {package['skip_reason']}" for package in unasked]
    return int(bool(faults)), "\n".join(lines)


def main(*options: str) -> int:
    """Print what was found; return the exit status."""
    status, said = audit(LOCK, *options)
    print(f"pip-audit: {said}")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
