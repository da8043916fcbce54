"""Servers that archives run on: nginx, and pgstac on PostgreSQL with PostGIS; `.ci/servers` installs them.

Tests that ask for them are skipped, with the reason, where they are not installed. What servers print is shown with
the test that fails. They end with the block, and with the process of the tests, however that ends.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
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
  limit_req_zone $server_port zone=pace:1m rate=20r/s; limit_req_status 429;
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
  server {{ listen 127.0.0.1:{limited}; root {root}; limit_req zone=pace; }}
  server {{ listen 127.0.0.1:{closed}; root {root}; error_page 404 =403 /no; location = /no {{ return 403 'no'; }} }}
}}
"""
"""A bucket in six manners: as it is; 20 ms late; a fifth of answers fail; at 40 kB/s; at most 20 requests a second,
others are answered with 429; 403 for what is not there."""

MANNERS = ("plain", "late", "faulty", "slow", "limited", "closed")


@dataclass
class Nginx:
    """A server of a folder; each manner of `NGINX` has a host of its own."""

    hosts: dict[str, str]
    process: int

    def url(self, manner: str) -> str:
        return f"http://{self.hosts[manner]}"

    def kill_worker(self) -> None:
        """Kill what answers, in the midst of it; another one is started for further requests."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text()
        os.kill(int(children), signal.SIGKILL)


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
    ports = dict(zip(MANNERS, free_ports(len(MANNERS)), strict=True))
    user = "root" if os.getuid() == 0 else "nobody"
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(modules=modules, run=folder, root=root, user=user, **ports))
    with _running([program, "-e", folder / "error.log", "-c", settings], signal.SIGTERM) as process:
        _wait(f"http://127.0.0.1:{ports['closed']}/", process)
        yield Nginx({manner: f"127.0.0.1:{port}" for manner, port in ports.items()}, process.pid)


def postgresql() -> Path | None:
    """The folder of the programs of the newest PostgreSQL that has PostGIS."""
    found = {
        float(version.name): version / "bin"
        for version in Path("/usr/lib/postgresql").glob("[0-9]*")
        if Path(f"/usr/share/postgresql/{version.name}/extension/postgis.control").exists()
        and (version / "bin" / "initdb").exists()
    }
    return found[max(found)] if found else None


@contextmanager
def pgstac(collections: Sequence[Any], items: Sequence[Any]) -> Iterator[str]:
    """Load collections and their items into a fresh pgstac, and give the address of its STAC API."""
    programs = postgresql()
    if programs is None:
        pytest.skip("PostgreSQL with PostGIS is not installed; .ci/servers installs them")
    if not all((PROGRAMS / name).exists() for name in ("pypgstac", "uvicorn")):
        pytest.skip(f"pgstac is not installed in {PROGRAMS.parent.name}; .ci/servers installs it")
    port, api = free_ports(2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        password, data = secrets.token_hex(), folder / "data"
        for name, lines in {"password": [password], "collections": collections, "items": items}.items():
            text = "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines)
            (folder / name).write_text(text)
        demoted: list[str] = []
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            demoted = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        of_user = ["-U", "postgres", "-A", "scram-sha-256", "--pwfile", folder / "password"]
        _run([*demoted, programs / "initdb", "--no-sync", "-D", data, *of_user], cwd=folder)
        options = ["-F", "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        server = [programs / "postgres", "-D", data, *options]
        process = stack.enter_context(_running(server, signal.SIGINT, demoted, cwd=folder))
        to = {
            "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGPASSWORD": password,
            "PGDATABASE": "postgres",
        }  # fmt: skip
        environment = {**os.environ, **to}
        _wait_for_database([programs / "pg_isready", "-q"], process, env=environment)
        for words in (["migrate"], ["load", "collections", "collections"], ["load", "items", "items"]):
            _run([PROGRAMS / "pypgstac", *words], env=environment, cwd=folder)
        served = [PROGRAMS / "uvicorn", "stac_fastapi.pgstac.app:create_app", "--factory", "--port", str(api)]
        process = stack.enter_context(_running(served, signal.SIGTERM, env=environment, cwd=folder))
        _wait(f"http://127.0.0.1:{api}/", process)
        yield f"http://127.0.0.1:{api}"


def _run(command: Sequence[Any], **options: Any) -> None:
    """Run a program to its end, which has to be a good one."""
    status = subprocess.run(command, check=False, timeout=120, **options).returncode
    if status:
        pytest.fail(f"`{' '.join(map(str, command))}` ended with {status}")


@contextmanager
def _running(
    command: Sequence[Any], stop: signal.Signals, demoted: Sequence[str] = (), **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server as long as the block, or this process, lasts.

    stop: the signal that ends it.
    demoted: what runs it as another user.
    """
    until = [*(demoted or ["setpriv"]), "--pdeathsig", stop.name.removeprefix("SIG")]
    process = subprocess.Popen([*until, *command], **options, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for_database(ask: Sequence[Any], process: subprocess.Popen[bytes], **options: Any) -> None:
    for _ in range(400):
        if process.poll() is not None:
            pytest.fail(f"PostgreSQL ended with {process.returncode}")
        if subprocess.run(ask, check=False, **options).returncode == 0:
            return
        time.sleep(0.05)
    pytest.fail("PostgreSQL does not answer")


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
