"""A server on this machine whose answers are set beforehand, with byte ranges; it notes what was asked."""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Canned:
    """Answers GET by the path and query asked for; with 404 where there is no answer.

    answers: a status without a body, or a body, by path and query.
    asked: path and query, and the range, of each request so far.
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes | int] = {}
        self.asked: list[tuple[str, str]] = []
        canned = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                canned._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        self.asked.append((handler.path, asked))
        answer = self.answers.get(handler.path, 404)
        status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        if match and status == 200:
            first, last = int(match[1]), min(int(match[2] or len(body)), len(body) - 1)
            status = 206 if first < len(body) else 416
        handler.send_response(status)
        if status == 206:
            handler.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
            body = body[first : last + 1]
        elif status == 416:
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            body = b""
        if not isinstance(answer, int):
            handler.send_header("ETag", f'"{hashlib.md5(answer).hexdigest()}"')
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
