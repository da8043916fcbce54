"""What is known to be faulty fails, what could not be asked is said: pip-audit asks a service that the tests play."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from threading import Event, Thread

import audit
import pytest

LOCK = """affine==3.0.1 \\
    --hash=sha256:00
    # via rasterio
colorama==0.4.6 ; sys_platform == 'another' \\
    --hash=sha256:11
jinja2==3.1.2 ; python_full_version >= '3.11' \\
    --hash=sha256:22
"""

FAULT = {
    "id": "PYSEC-0-0",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.6"}]}],
        }
    ],
}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    return path


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of a service of advisories; what it answers goes by the path."""
    closed = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/silent":
                closed.wait(60)
            known = self.path == "/faults" and asked == {
                "package": {"name": "jinja2", "ecosystem": "PyPI"},
                "version": "3.1.2",
            }
            text = {"/page": "<p>Log in to this network.</p>"}.get(self.path, json.dumps({"vulns": [FAULT] * known}))
            self.send_response(503 if self.path == "/broken" else 200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    closed.set()
    server.shutdown()
    server.server_close()


def asked(lock: Path, address: str, *options: str, seconds: float = 60) -> tuple[int, str]:
    return audit.audit(lock, "--vulnerability-service", "osv", "--osv-url", address, *options, seconds=seconds)


def test_nothing_known_is_right(lock: Path, service: str) -> None:
    assert asked(lock, f"{service}/nothing") == (0, "3 packages, 0 known faults")


def test_a_known_fault_fails_unless_it_is_ignored_by_name(lock: Path, service: str) -> None:
    found = (1, "3 packages, 1 known faults\njinja2 3.1.2: PYSEC-0-0, mended in 3.1.6")
    assert asked(lock, f"{service}/faults") == found
    assert asked(lock, f"{service}/faults", "--ignore-vuln", "PYSEC-0-0") == (0, "3 packages, 0 known faults")


@pytest.mark.parametrize(
    ("page", "reason"),
    [("broken", "503 Server Error"), ("page", "Expecting value"), (None, "Connection refused")],
)
def test_a_service_that_cannot_be_asked_is_told(lock: Path, service: str, page: str | None, reason: str) -> None:
    status, said = asked(lock, f"{service}/{page}" if page else "http://127.0.0.1:9/nothing")
    assert status == 0 and said.startswith("skipped, could not ask: ") and reason in said and "\n" not in said


def test_a_service_that_never_answers_is_not_waited_for(lock: Path, service: str) -> None:
    began = time.monotonic()
    assert asked(lock, f"{service}/silent", seconds=2) == (0, "skipped, could not ask: no answer within 2 s")
    assert time.monotonic() - began < 20


def test_an_index_without_advisories_has_not_said_that_there_are_none() -> None:
    unasked = {"name": "six", "skip_reason": "Dependency not found on PyPI and could not be audited: six (1.17.0)"}
    said = audit.judged(done({"dependencies": [unasked]}))
    assert said == (0, f"skipped, could not ask about any of 1 packages: {unasked['skip_reason']}")
    faulty = {"name": "jinja2", "version": "3.1.2", "vulns": [{"id": "PYSEC-0-0", "fix_versions": []}]}
    assert audit.judged(done({"dependencies": [unasked, faulty]}, 1)) == (
        1,
        "1 packages, 1 known faults\njinja2 3.1.2: PYSEC-0-0, mended in none\nskipped six: " + unasked["skip_reason"],
    )


def test_a_time_out_that_pip_audit_words_itself_is_no_answer() -> None:
    lines = (
        "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed\nERROR:pip_audit._cli:Tip: your network"
    )
    said = audit.judged(CompletedProcess([], 1, "", lines))
    assert said == (0, "skipped, could not ask: Could not connect to PyPI's vulnerability feed")


def test_what_pip_audit_cannot_do_fails(lock: Path) -> None:
    status, said = audit.audit(lock, "--no-such-option")
    assert status == 1 and said.startswith("failed with exit status 2:\n") and "--no-such-option" in said
    lock.write_text("affine==not-a-version\n")
    status, said = audit.audit(lock)
    assert status == 1 and "invalid" in said


def done(report: object, status: int = 0) -> "CompletedProcess[str]":
    return CompletedProcess([], status, json.dumps(report), "")
