"""Servers on loopback: one that gives parts of files, and does it wrong where its address says so, and two others."""

from __future__ import annotations

import gzip
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from canned import Canned
from s3 import S3

LATE = 20_000
"""Bytes from which on some faults begin, so that headers are had; of short files, a twentieth."""


@dataclass
class Server:
    """A server of files of a folder: `url(path)` answers rightly, `url(path, fault)` does not.

    failing: a path that is answered with 503 from its late bytes on.

    asked: (fault, path, range) of each request, in order.
    """

    folder: Path
    address: str = ""
    latency: float = 0.0
    failing: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    seen: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, fault: str = "ok") -> str:
        return f"http://{self.address}/{fault}/{path}"


class Handler(BaseHTTPRequestHandler):
    """Answers GET /FAULT/PATH.

    Faults: a status, for ever or after `once`; closed, html, loop, to=ADDRESS, slowheader, garbled; packed (gzip, as no
    fault); of parts from the late bytes on: trunc, stall, trunconce, stallonce, norange, changed, grown, shifted, flip,
    zeros, packedpart, trickle, stallclose (and the server closes then).
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer waits 40 ms for the one before to be acknowledged
    files: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        fault, _, path = self.path.split("?")[0].lstrip("/").partition("/")
        asked = self.headers.get("Range", "")
        request = (fault, path, asked)
        self.files.asked.append(request)
        self.files.seen[request] += 1
        time.sleep(self.files.latency)
        self._answer(fault, self.files.folder / path, asked, is_first=self.files.seen[request] == 1)

    def _answer(self, fault: str, path: Path, asked: str, *, is_first: bool) -> None:
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        size = path.stat().st_size if path.is_file() else 0
        is_late = not part or int(part[1]) >= min(LATE, size // 20)
        status = re.fullmatch(r"(once)?(\d{3})", fault)
        if status and (is_first or not status[1]) and (int(status[2]) < 500 or is_late):
            self._send(int(status[2]), b"", {"Retry-After": "1"} if status[2] == "429" else {})
        elif fault == "oncedate" and is_first:
            self._send(429, b"", {"Retry-After": formatdate(time.time() + 2, usegmt=True)})
        elif fault == "slowheader":
            self._trickle(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000)
        elif self.files.failing and str(path).endswith(self.files.failing) and is_late:
            self._send(503, b"")
        elif fault == "closed" and is_late:
            self.close_connection = True
        elif fault == "html":
            self._send(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
        elif fault == "loop":
            self._send(302, b"", {"Location": self.path})
        elif fault.startswith("to="):
            self._send(302, b"", {"Location": unquote(fault.removeprefix("to="))})
        elif not path.is_file():
            self._send(404, b"")
        else:
            self._file(fault, path.read_bytes(), part, is_late=is_late, is_first=is_first)

    def _file(self, fault: str, whole: bytes, part: re.Match[str] | None, *, is_late: bool, is_first: bool) -> None:
        if fault in ("packed", "garbled"):
            data = gzip.compress(whole) if fault == "packed" else whole
            self._send(200, data, {"Content-Encoding": "gzip"})
            return
        if part is None or fault == "norange":
            self._send(200, whole)
            return
        first, last = int(part[1]), min(int(part[2]), len(whole) - 1)
        data = whole[first : last + 1]
        headers = {"Content-Range": f"bytes {first}-{last}/{len(whole)}", "ETag": '"one"'}
        if fault == "grown":
            del headers["ETag"]
            headers["Content-Range"] += "0" * is_late
        if fault == "packedpart" and is_late:
            headers["Content-Encoding"] = "gzip"
        if fault == "changed" and is_late:
            headers["ETag"] = '"two"'
        if fault == "shifted" and is_late:
            headers["Content-Range"] = f"bytes {first + 1}-{last + 1}/{len(whole)}"
        if fault == "flip" and is_late:
            data = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0xFF]) + data[len(data) // 2 + 1 :]
        if fault == "zeros" and is_late:
            data = bytes(len(data))
        if fault in ("trunc", "trunconce", "stall", "stallonce") and is_late and (is_first or "once" not in fault):
            self._send(206, data, headers, sent=len(data) // 2)
            if "stall" in fault:
                self.files.stopping.wait(60)
            self.close_connection = True
            return
        if fault == "trickle" and is_late:
            self._send(206, data, headers, sent=1)
            self._trickle(data[1:])
            return
        if fault == "stallclose" and is_late:
            self._send(206, data, {**headers, "Connection": "close"}, sent=len(data) // 2)
            self.files.stopping.wait(60)
            return
        self._send(206, data, headers)

    def _trickle(self, data: bytes) -> None:
        """Send some bytes, ten a second, until the test ends."""
        for byte in data:
            self.wfile.write(bytes([byte]))
            if self.files.stopping.wait(0.1):
                break
        self.close_connection = True

    def _send(
        self, status: int, data: bytes, /, headers: dict[str, str] | None = None, sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:sent])
        self.wfile.flush()


class Threads(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:  # clients that leave are no fault
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the files in `remote` of the test's folder."""
    files = Server(tmp_path / "remote")
    files.folder.mkdir()
    threads = Threads(("127.0.0.1", 0), type("Files", (Handler,), {"files": files}))
    files.address = f"127.0.0.1:{threads.server_address[1]}"
    threading.Thread(target=threads.serve_forever, daemon=True).start()
    yield files
    files.stopping.set()
    threads.shutdown()
    threads.server_close()


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    yield server
    server.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # S3 gives 1,000 keys a page
        server = S3()
        yield server
        server.close()


@pytest.fixture
def s3(s3_server: S3) -> S3:
    """An empty bucket."""
    s3_server.empty()
    return s3_server
