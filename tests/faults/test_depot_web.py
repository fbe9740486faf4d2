# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The web server's configuration of docs/depot-web.md, in a real nginx in front of a depot."""

from __future__ import annotations

import contextlib
import http.client
import re
import secrets
import ssl
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.faults._releases import docker, free_port, wait_for
from ansible_collections.emorobcare.fleet.tests.faults.test_bases import make
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._served_depot import LABEL, Answer, Depot

PAGE = Path(__file__).parents[2] / "docs" / "depot-web.md"
AROUND = """
user root;
worker_processes 1;
pid /tmp/nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    {server}
}}
"""


@pytest.fixture(name="served")
def served_fixture(tmp_path: Path) -> t.Iterator[tuple[Depot, t.Callable[..., Answer]]]:
    """A depot behind nginx, and what asks for its files."""
    depot = Depot(tmp_path / "depot")
    depot.add_image("emo/api:1", bytes(range(256)) * 1000)
    for name in ("oci-layout", "index.json", "depot.json", "metadata/timestamp.json", "metadata/1.root.json"):
        (depot.path / name).parent.mkdir(exist_ok=True)
        (depot.path / name).write_text("{}")
    for name in ("receipts/robot-1/1.json", "partial/x"):
        (depot.path / name).parent.mkdir(parents=True)
        (depot.path / name).write_text("private")
    (depot.path / "blobs" / "sha256" / ("e" * 64)).symlink_to(depot.path / "oci-layout")
    port = free_port()
    configure(tmp_path, port)
    container = f"fleet-serve-{secrets.token_hex(4)}"
    options = ["--network", "host", "--read-only", "--tmpfs", "/tmp", "--label", f"{LABEL}=serve"]
    mount = ["--volume", f"{tmp_path}:{tmp_path}:ro"]
    nginx = ["nginx", "-e", "stderr", "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off;"]
    docker("run", "--detach", "--name", container, *options, *mount, "--user", "0", make("base-nginx"), *nginx)
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

    def ask(path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())

    def is_up() -> bool:
        running = docker("container", "inspect", "--format", "{{.State.Running}}", container)
        assert running == "true", docker("container", "logs", container)
        with contextlib.suppress(ConnectionError):
            return ask("/oci-layout").status == 200
        return False

    try:
        wait_for(is_up)
        yield depot, ask
    finally:
        docker("container", "rm", "--force", container)


def configure(folder: Path, port: int) -> None:
    """Write the page's configuration with our own addresses and paths, and a certificate."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    server = found[1]
    for theirs, ours in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/srv/depot": str(folder / "depot"),
        "/etc/ssl/depot": str(folder),
    }.items():
        assert theirs in server
        server = server.replace(theirs, ours)
    (folder / "nginx.conf").write_text(AROUND.format(server=server))
    subject = ["-subj", "/CN=depot", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    files = ["-out", str(folder / "cert.pem"), "-keyout", str(folder / "key.pem")]
    subprocess.run([*argv, *files], check=True, capture_output=True)


def test_the_pages_configuration_gives_out_a_depot_and_nothing_else(
    served: tuple[Depot, t.Callable[..., Answer]],
) -> None:
    depot, ask = served
    layer = depot.images[0].layers[0]
    content = depot.blob(layer).read_bytes()
    whole = ask(f"/blobs/sha256/{layer}")
    assert (whole.status, whole.body) == (200, content)
    assert "immutable" in whole.headers["cache-control"]
    part = ask(f"/blobs/sha256/{layer}", Range="bytes=1000-1999")
    assert (part.status, part.body) == (206, content[1000:2000])
    for name in ("oci-layout", "index.json", "depot.json", "metadata/timestamp.json"):
        assert ask(f"/{name}").headers["cache-control"] == "no-cache"
    assert "immutable" in ask("/metadata/1.root.json").headers["cache-control"]
    for name in ("", "receipts/robot-1/1.json", "partial/x", "metadata/", "blobs/sha256/", "metadata/../partial/x"):
        assert ask(f"/{name}").status == 404
    assert ask(f"/blobs/sha256/{'e' * 64}").status == 403, "a link is not followed"
    for method in ("PUT", "POST", "DELETE"):
        assert ask(f"/blobs/sha256/{layer}", method).status == 403
