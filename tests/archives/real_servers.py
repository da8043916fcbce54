"""Servers that archives run on: nginx, and pgstac on PostgreSQL with PostGIS; `.ci/servers` installs them.

Tests that ask for them are skipped, with the reason, where they are not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parents[2] / ".servers" / "bin"
"""Where `.ci/servers` puts what is of PyPI."""

NGINX = """
load_module {modules}/ngx_http_echo_module.so;
worker_processes 1; pid {run}/pid; error_log {run}/error.log warn; daemon off; user {user};
events {{ worker_connections 512; }}
http {{
  access_log {run}/access.log;
  client_body_temp_path {run}/b; proxy_temp_path {run}/p; fastcgi_temp_path {run}/f;
  uwsgi_temp_path {run}/u; scgi_temp_path {run}/s;
  default_type application/octet-stream; keepalive_requests 50;
  split_clients "$request_id" $lot {{ 7% a; 7% b; 7% c; * ok; }}
  server {{ listen 127.0.0.1:{plain}; root {root}; }}
  server {{ listen 127.0.0.1:{late}; root {root};
    location / {{ echo_sleep 0.02; echo_exec @file; }}
    location @file {{ }}
  }}
  server {{ listen 127.0.0.1:{faulty}; root {root};
    location / {{
      if ($lot = a) {{ return 503 '<Error><Code>SlowDown</Code></Error>'; }}
      if ($lot = b) {{ return 444; }}
      if ($lot = c) {{ return 429; }}
    }}
  }}
  server {{ listen 127.0.0.1:{slow}; root {root}; limit_rate 40k; }}
  server {{ listen 127.0.0.1:{closed}; root {root}; error_page 404 =403 /no; location = /no {{ return 403 'no'; }} }}
}}
"""
"""A bucket in five manners: as it is; 20 ms late; a fifth of answers fail; at 40 kB/s; 403 for what is not there."""


@dataclass
class Nginx:
    """A server of a folder; each manner of `NGINX` has a host of its own."""

    hosts: dict[str, str]

    def url(self, manner: str) -> str:
        return f"http://{self.hosts[manner]}"


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def nginx(folder: Path, root: Path) -> Iterator[Nginx]:
    """Serve the files below `root`; `folder` takes settings and logs."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    modules = Path("/usr/lib/nginx/modules")
    if program is None or not (modules / "ngx_http_echo_module.so").exists():
        pytest.skip("nginx with its echo module is not installed; .ci/servers installs it")
    manners = ("plain", "late", "faulty", "slow", "closed")
    ports = dict(zip(manners, free_ports(len(manners)), strict=True))
    user = "root" if os.getuid() == 0 else "nobody"
    (folder / "nginx.conf").write_text(NGINX.format(modules=modules, run=folder, root=root, user=user, **ports))
    process = subprocess.Popen([program, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{ports['closed']}/", process)
        yield Nginx({manner: f"127.0.0.1:{port}" for manner, port in ports.items()})
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def pgstac(collection: str, items: Sequence[Any]) -> Iterator[str]:
    """Load items into a fresh pgstac, and give the address of its STAC API."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or not (PROGRAMS / "uvicorn").exists():
        pytest.skip("PostgreSQL or pgstac is not installed; .ci/servers installs them")
    database, api = free_ports(2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        demote = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # PostgreSQL refuses to run as root
        folder.chmod(0o777)
        data = folder / "data"
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        subprocess.run(
            [*demote, found[-1], "-A", "trust", "-U", "postgres", "--no-sync", "-D", data], check=True, **quiet
        )
        options = ["-F", "-p", str(database), "-k", str(folder), "-h", "127.0.0.1"]
        stack.enter_context(
            _running([*demote, found[-1].with_name("postgres"), "-D", data, *options], signal.SIGINT, **quiet)
        )
        to = {
            "PGHOST": "127.0.0.1", "PGPORT": str(database), "PGUSER": "postgres", "PGPASSWORD": "-",
            "PGDATABASE": "postgres",
        }  # fmt: skip
        environment = {**os.environ, **to}
        for _ in range(100):
            if _runs([found[-1].with_name("pg_isready")], env=environment, **quiet):
                break
            time.sleep(0.05)
        description = {
            "type": "Collection", "id": collection, "description": "-", "license": "other", "stac_version": "1.0.0",
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
            "links": [],
        }  # fmt: skip
        (folder / "collections").write_text(json.dumps(description))
        (folder / "items").write_text("".join(json.dumps(one) + "\n" for one in items))
        for words in (
            ["migrate"],
            ["load", "collections", folder / "collections"],
            ["load", "items", folder / "items"],
        ):
            subprocess.run([PROGRAMS / "pypgstac", *words], env=environment, check=True, **quiet)
        server = [PROGRAMS / "uvicorn", "stac_fastapi.pgstac.app:create_app", "--factory", "--port", str(api)]
        process = stack.enter_context(_running(server, signal.SIGTERM, env=environment, **quiet))
        _wait(f"http://127.0.0.1:{api}/", process)
        yield f"http://127.0.0.1:{api}"


def _runs(command: Sequence[Any], **options: Any) -> bool:
    return subprocess.run(command, check=False, **options).returncode == 0


@contextmanager
def _running(command: Sequence[Any], stop: signal.Signals, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, **options, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, stop)
        process.wait(20)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers, with whatever status."""
    for _ in range(400):
        if process.poll() is not None:
            pytest.fail(f"the server of {url} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"{url} does not answer")
