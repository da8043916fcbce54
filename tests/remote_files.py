"""A server of a folder's files, at /FAULT/NAME, in a process of its own: GDAL lets no other thread run while it asks.

python remote_files.py FOLDER prints its port, and serves until it is killed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LATE = 40_000
"""Bytes from which on faults begin: behind the header, and within the pixels."""


@dataclass(frozen=True)
class Files:
    """A server of the files of a folder."""

    folder: Path
    address: str


@contextmanager
def serving(folder: Path) -> Iterator[Files]:
    """Serve a folder as long as the block lasts."""
    with subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Files(folder, f"127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.kill()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    asked: Counter[tuple[str, str, str]]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        fault, _, name = self.path.partition("?")[0].lstrip("/").partition("/")
        asked = self.headers.get("Range", "")
        self.asked[(self.command, fault, asked)] += 1
        is_first = self.asked[(self.command, fault, asked)] == 1
        path, part = self.folder / name, re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        is_late = part is not None and int(part[2]) >= LATE
        status = re.fullmatch(r"(once)?(\d{3})", fault)
        if not path.is_file():
            self._send(404, b"", body=body)
        elif status and body and (is_first or not status[1]) and (is_late or int(status[2]) < 500):
            self._send(int(status[2]), b"", body=body)
        elif fault == "html":
            self._send(200, b"<html>sign in</html>", body=body)
        elif part is None:
            self._send(200, path.read_bytes(), body=body)
        else:
            whole = path.read_bytes()
            first, last = int(part[1]), min(int(part[2]), len(whole) - 1)
            data = whole[first : last + 1]
            at = max(0, LATE - first) + 100
            if fault == "flip" and is_late:
                data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            if fault == "zeros" and is_late:
                data = data[:at] + bytes(len(data) - at)
            sent = at if fault in ("trunc", "stall") and is_late else len(data)
            headers = {"Content-Range": f"bytes {first}-{last}/{len(whole)}"}
            self._send(206, data, headers, sent=sent, body=body)
            if sent < len(data):
                if fault == "stall":
                    time.sleep(30)
                self.close_connection = True

    def _send(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, *, body: bool, sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "Accept-Ranges": "bytes", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[:sent])
            self.wfile.flush()


class Threads(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:  # clients that leave are no fault
        pass


if __name__ == "__main__":
    kind = type("Of", (Handler,), {"folder": Path(sys.argv[1]), "asked": Counter()})
    server = Threads(("127.0.0.1", 0), kind)
    print(server.server_address[1], flush=True)
    server.serve_forever()
