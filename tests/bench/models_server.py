# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's nginx on the loopback interface: plain, with TLS, and in the role of a model hub."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from ansible_collections.emorobcare.fleet.tests.bench.models_cases import Job

# A model hub, as far as its own client needs one that is asked for a commit: a listing, and files with two headers.
# nginx's own ETag is of size and time, which files that were made together share; the hub's is the digest.
CONFIG = """\
{user}
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 60s;
  keepalive_requests 1000000;
  default_type application/octet-stream;
  client_body_temp_path {folder}/tmp-body;
  proxy_temp_path {folder}/tmp-proxy;
  fastcgi_temp_path {folder}/tmp-fastcgi;
  uwsgi_temp_path {folder}/tmp-uwsgi;
  scgi_temp_path {folder}/tmp-scgi;
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_session_cache shared:bench:1m;
    location /data/ {{ alias {data}/; }}
    location /api/ {{ root {folder}/hub; default_type application/json; }}
    location ~ "^/bench/[0-9a-f]+/resolve/(?<commit>[0-9a-f]{{40}})/(?<digest>[0-9a-f]{{64}})/(?<file>.+)$" {{
      alias {data}/$file;
      add_header X-Repo-Commit $commit;
      add_header X-Linked-Etag '"$digest"';
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return t.cast("int", probe.getsockname()[1])


def make_certificates(folder: Path) -> None:
    """Write ca.pem, and server.pem and server.key for 127.0.0.1, good for two days."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    server = ["-addext", "basicConstraints=CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"]
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    for words in (
        [*key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench authority", *authority],
        [*key, "-keyout", "server.key", "-out", "server.pem", "-subj", "/CN=bench", *server, *signed],
    ):
        done = subprocess.run(
            ["openssl", "req", "-x509", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"openssl made no certificate: {done.stderr}")


class Server:
    """nginx in its own folder and on ports of its own, ended with the block, and by the kernel if we are killed."""

    def __init__(self, nginx: str, folder: Path, data: Path) -> None:
        self.folder = folder
        self._nginx = nginx
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.folder.mkdir(parents=True)
        make_certificates(self.folder)
        self._plain, self._tls = free_port(), free_port()
        config = CONFIG.format(
            user="user root;" if os.geteuid() == 0 else "",  # the data may be where only root may look
            folder=self.folder,
            data=self._data,
            plain=self._plain,
            tls=self._tls,
        )
        (self.folder / "nginx.conf").write_text(config)
        log = str(self.folder / "error.log")
        argv = [self._nginx, "-p", str(self.folder), "-c", "nginx.conf", "-e", log, "-g", "daemon off;"]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Control-C is for us: we end it when its clients have ended
        )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def authority(self) -> Path:
        return self.folder / "ca.pem"

    def base(self, tls: bool) -> str:
        return f"https://127.0.0.1:{self._tls}" if tls else f"http://127.0.0.1:{self._plain}"

    def offer(self, job: Job) -> None:
        """Have the hub list the job's files."""
        listing = [
            {
                "type": "file",
                "path": file.in_hub,
                "size": file.size,
                "oid": file.sha256[:40],
                "lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134},
            }
            for file in job.files
        ]
        tree = self.folder / "hub" / "api" / "models" / job.repo / "tree" / job.commit
        tree.parent.mkdir(parents=True, exist_ok=True)
        tree.write_text(json.dumps(listing))

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._plain)) == 0:
                    return
            time.sleep(0.02)
        log = self.folder / "error.log"
        raise SystemExit(f"nginx did not start:\n{log.read_text() if log.exists() else '(it wrote no log)'}")

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
