"""STAC APIs on this machine: rustac's, and one that does as badly as a test asks it to; items for both."""

from __future__ import annotations

import copy
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError

COLLECTION = "sentinel-2-c1-l2a"

TILES = {"32TPT": (11.0, 47.0), "32TQT": (12.0, 47.0), "33TUN": (13.0, 47.0), "01WCP": (179.5, 66.0)}
"""Lower left corners of tiles in degrees, each a degree wide; the last crosses 180 degrees."""


def item(
    tile: str = "32TPT",
    day: str = "2020-06-15",
    *,
    version: str = "05.00",
    at: str = "10:00:00",
    id: str | None = None,
    more: dict[str, Any] | None = None,
) -> Any:
    """An item of Collection 1 in Earth Search's manner: a tile and a day, and properties that differ."""
    compact = f"{day}T{at}".replace("-", "").replace(":", "")
    west, south = TILES[tile]
    east = west + 1 - 360 * (west + 1 > 180)
    strips = [(west, min(west + 1, 180.0))] + [(-180.0, east)] * (east < west)
    rings = [[[[a, south], [b, south], [b, south + 1], [a, south + 1], [a, south]]] for a, b in strips]
    product = f"S2A_MSIL2A_{compact}_N{version.replace('.', '')}_R022_T{tile}_{compact[:8]}T200000"
    asset = {
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "proj:shape": [10980, 10980],
        "proj:transform": [10, 0, 600000, 0, -10, 5300040],
        "file:size": 1000,
    }
    shift = 0 if version < "04.00" else -0.1
    bands = {
        name: {
            **asset,
            "href": f"https://data.test/{product}/{name}.tif",
            "raster:bands": [{"scale": 1e-4, "offset": shift}],
        }
        for name in ("red", "green", "blue", "nir")
    }
    properties = {
        "datetime": f"{day}T{at}.024000Z",
        "platform": "sentinel-2a",
        "eo:cloud_cover": 10.5,
        "proj:epsg": int(f"326{tile[:2]}"),
        "grid:code": f"MGRS-{tile}",
        "s2:processing_baseline": version,
        "s2:product_uri": f"{product}.SAFE",
        "s2:datastrip_id": f"S2A_OPER_MSI_L2A_DS_2APS_{compact}_S{compact}_N{version}",
        "s2:generation_time": f"{day}T20:00:00.000000Z",
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": id or f"S2A_T{tile}_{compact}_{version}",
        "collection": COLLECTION,
        "bbox": [west, south, east, south + 1],
        "geometry": {"type": "MultiPolygon", "coordinates": rings},
        "properties": properties | (more or {}),
        "assets": bands | {"scl": {**asset, "href": f"https://data.test/{product}/scl.tif"}},
        "links": [],
    }


def changed(value: Any, *path: str | int, to: Any) -> Any:
    """A copy of an item with another value at a path; `...` removes it."""
    new = copy.deepcopy(value)
    place = new
    for step in path[:-1]:
        place = place[step]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return new


@dataclass
class Lies:
    """How an API answers.

    next: how the next page is linked: merge, body, get, none, repeat, elsewhere, fresh (each page anew), empty (without
        end), garbled.
    most: items of a page, whatever is asked for.
    above: limit above which `status` is answered.
    refused: methods that are answered with 405.
    raw: what is answered in place of a page.
    matched: whether the number of all items is told.
    """

    next: str = "merge"
    most: int = 10**6
    above: int = 10**6
    status: int = 500
    refused: tuple[str, ...] = ()
    raw: bytes | None = None
    matched: bool = False


class Api:
    """A STAC API in this process.

    url: its address.
    asked: method, path and body (or query) of the searches so far.
    """

    def __init__(self, items: Sequence[Any], lies: Lies) -> None:
        self.items, self.lies = list(items), lies
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api.answer(self, "GET")

            def do_POST(self) -> None:
                api.answer(self, "POST")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler: BaseHTTPRequestHandler, method: str) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        parts = urlsplit(handler.path)
        if parts.path.startswith("/v1/collections/"):
            known = parts.path == f"/v1/collections/{COLLECTION}"
            return _send(handler, 200 if known else 404, b'{"id": "x"}' if known else b"{}")
        query: dict[str, Any] = json.loads(body) if body else {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.asked.append((method, parts.path, query))
        if method in self.lies.refused or parts.path != "/v1/search":
            return _send(handler, 405 if method in self.lies.refused else 404, b"{}")
        if int(query["limit"]) > self.lies.above:
            return _send(handler, self.lies.status, b'{"message": "too large"}')
        return _send(handler, 200, json.dumps(self.page(query)).encode() if self.lies.raw is None else self.lies.raw)

    def page(self, query: dict[str, Any]) -> Any:
        limit, first = min(int(query["limit"]), self.lies.most), int(query.get("token", 0))
        fitting = [one for one in self.items if _meets(one, query)]
        links, page = [], fitting[first : first + limit]
        body, url = {**query, "token": first + limit}, f"{self.url}/search"
        if self.lies.next == "fresh":
            page = [{"id": f"S2A_{first + number}"} for number in range(limit)]
        if self.lies.next == "empty":
            page = []
        if len(fitting) > first + limit or self.lies.next in ("repeat", "elsewhere", "fresh", "empty", "garbled"):
            link: dict[str, Any] = {"rel": "next", "href": url, "method": "POST"}
            pairs = "&".join(f"{key}={_text(value)}" for key, value in body.items())
            links = {
                "merge": [link | {"merge": True, "body": {"token": first + limit}}],
                "body": [link | {"body": body}],
                "get": [{"rel": "next", "href": f"/v1/search?{pairs}"}],
                "none": [],
                "repeat": [link | {"merge": True, "body": {"token": 0, "session": first}}],
                "elsewhere": [link | {"href": "http://elsewhere.test/v1/search", "body": body}],
                "garbled": [link | {"href": ["no address"]}],
            }.get(self.lies.next, [link | {"body": body}])
        number = {"numberMatched": len(fitting)} if self.lies.matched else {}
        return {"type": "FeatureCollection", "features": page, "links": [{"rel": "self", "href": 7}, *links], **number}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _meets(value: Any, query: dict[str, Any]) -> bool:
    """Whether an item's box and time meet those of a search."""
    if not isinstance(value, dict) or "properties" not in value or not value.get("bbox"):
        return True
    box = [float(number) for number in (query["bbox"].split(",") if isinstance(query["bbox"], str) else query["bbox"])]
    start, end = query["datetime"].split("/")
    west, south, east, north = value["bbox"]
    east += 360 * (west > east)
    meets = any(box[0] <= east + turn and west + turn <= box[2] for turn in (-360, 0, 360))
    moment = value["properties"].get("datetime") or value["properties"].get("start_datetime")
    return meets and south <= box[3] and box[1] <= north and start[:19] <= str(moment)[:19] <= end[:19]


Serve = Callable[..., Api]


@contextmanager
def serving() -> Iterator[Serve]:
    """Serve items, and lie as asked; all servers end with the block."""
    servers: list[Api] = []

    def serve(items: Sequence[Any], **lies: Any) -> Api:
        servers.append(Api(items, Lies(**lies)))
        return servers[-1]

    try:
        yield serve
    finally:
        for server in servers:
            server.close()


@contextmanager
def rustac(folder: Path, items: Sequence[Any]) -> Iterator[str]:
    """Serve items by rustac, and give the address of its API."""
    program = shutil.which("rustac", path=str(Path(sys.executable).parent)) or shutil.which("rustac")
    if program is None:
        raise FileNotFoundError("rustac")
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    collection = {
        "type": "Collection", "stac_version": "1.0.0", "id": COLLECTION, "description": "-", "license": "other",
        "extent": extent, "links": [],
    }  # fmt: skip
    for name, values in {"collection": [collection], "items": items}.items():
        (folder / f"{name}.ndjson").write_text("".join(json.dumps(value) + "\n" for value in values))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [program, "serve", "collection.ndjson", "items.ndjson", "--addr", address]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{address}/", timeout=1).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


class Asker(Client):
    """A client that asks once, and refuses nothing."""

    def json(self, url: str, *, body: Any = None, most: int = 2**25) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        self.traffic.requests += 1
        host = urlsplit(url).netloc
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                text = answer.read(most + 1)
        except urllib.error.HTTPError as error:
            error.close()
            raise (AbsentError if error.code == 404 else FetchError)(f"{host}: {error.code}", error.code) from None
        if len(text) > most:
            raise FetchError(f"{host}: more than {most} bytes", 413)
        try:
            return json.loads(text)
        except ValueError:
            raise FetchError(f"{host}: answers with no JSON") from None
