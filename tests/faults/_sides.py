# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stack with sides for the tests of releases: an API behind the ingress, a database that keeps what it is told."""

from __future__ import annotations

import json
import signal
import typing as t
import urllib.request
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.tests.faults._releases import PYTHON, Lab, docker, free_port, job

PARTS = ("", "-data", "-blue", "-green", "-ingress")

# Says which release it is of, and what the database holds.
API = """
import http.server, json, os, sys, time, urllib.request
TEXT, MODE = os.environ["TEXT"], os.environ.get("MODE", "good")
if MODE == "dies":
    print("cannot go on", flush=True)
    sys.exit(7)
asked = 0
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        global asked
        late = MODE == "rots" and os.path.exists("/shared/rot")
        if self.path == "/free":
            with open("/shared/asked", "a") as file:
                file.write("x")
            self.answer(json.dumps({"free": not os.path.exists("/shared/busy")}).encode())
        elif self.path == "/data":
            asked += 1
            if MODE == "flaps" and asked % 2:
                return self.answer(b"{}", 500)
            if MODE == "leaves" and asked > 4:
                os._exit(3)
            if MODE == "slow":
                time.sleep(0.5)
            kept = urllib.request.urlopen("http://db:8000/", timeout=5).read().decode()
            self.answer(json.dumps({"text": TEXT, "mode": "rotten" if late else MODE, "kept": kept}).encode())
        elif self.path.endswith("/large"):
            self.answer(TEXT.encode() + b":" + b"x" * (1 << 20))
        else:
            self.answer(f"{TEXT}:{self.path}".encode())
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(f"{TEXT}:{len(body)}".encode())
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
Server(("", 8000), Handler).serve_forever()
"""

# Keeps what it is told once in a file.
DATABASE = """
import http.server, os
if not os.path.exists("/data/first"):
    open("/data/first", "w").write(os.environ["FIRST"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open("/data/first").read().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


def program(image: str, code: str, **more: t.Any) -> dict[str, t.Any]:
    """A Compose service that runs a Python program."""
    command = [PYTHON, "-S", "-u", "-c", code.replace("$", "$$")]
    return {"image": image, "command": command, "stop_signal": "SIGKILL", "restart": "unless-stopped", **more}


@dataclass
class Sides(Lab):
    """A stack whose API is replaced side by side."""

    ingress: str = ""
    port: int = field(default_factory=free_port)

    def sided(
        self,
        text: str,
        mode: str = "good",
        *,
        database: str = "first",
        job_code: str | None = None,
        timeout: float = 20.0,
        expect: str | None = None,
        rollout: dict[str, t.Any] | None = None,
        services: dict[str, dict[str, t.Any]] | None = None,
        more: dict[str, dict[str, t.Any]] | None = None,
        **document: t.Any,
    ) -> dict[str, t.Any]:
        """The module's options for a release of this text.

        `services` adds to Compose's services, `more` to those of the document, `document` to the document itself.
        """
        networks = {"networks": ["inner"]}
        api = program(self.image, API, environment={"TEXT": text, "MODE": mode}, **networks)
        api |= {"depends_on": ["db"], "volumes": ["shared:/shared"]}
        database_service = program(self.image, DATABASE, environment={"FIRST": database}, volumes=["data:/data"])
        compose: dict[str, dict[str, t.Any]] = {"api": api, "db": database_service | networks}
        gates: dict[str, dict[str, t.Any]] = {
            "api": {"gate": [{"http": {"port": 8000, "path": "/data", "expect": expect or "mode == 'good'"}}]},
            "db": {"lifecycle": "stateful", "gate": [{"http": {"port": 8000}}]},
        }
        if job_code is not None:
            compose["load"] = {**job(self.image, job_code), **networks}
            gates["load"] = {"lifecycle": "job"}
            api["depends_on"] = {"load": {"condition": "service_completed_successfully"}}
        for name, service in (services or {}).items():
            compose[name] = {**compose.get(name, {}), **service}
        for name, facts in (more or {}).items():
            gates[name] = {**gates.get(name, {}), **facts}
        routes = [{"service": "api", "port": 8000, "path": "/", "host": None, "strip": False, "tcp": None}]
        ingress = {
            "image": self.ingress,
            "http": f"127.0.0.1:{self.port}",
            "https": None,
            "tls": None,
            "routes": routes,
        }
        how = {"success_threshold": 2, "gate_timeout": timeout, "strategy": "blue_green", "drain": 5, **(rollout or {})}
        volumes: dict[str, t.Any] = {"volumes": {"data": {}, "shared": {}}, "networks": {"inner": {}}}
        return self.release(
            compose, gates, timeout, compose=volumes, **{"rollout": how, "ingress": ingress, **document}
        )

    def ask(self, path: str = "/data") -> t.Any:
        """What the stack answers at its door."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def serving(self) -> str:
        """The text of the release that serves."""
        return str(self.ask()["text"])

    def running(self) -> dict[str, dict[str, t.Any]]:
        """Each container by project and service, without the stack's own name: `-blue/api`."""
        found = {}
        for part in PARTS:
            ids = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.stack}{part}").split()
            for item in json.loads(docker("container", "inspect", *ids)) if ids else []:
                found[f"{part}/{item['Config']['Labels']['com.docker.compose.service']}"] = item
        return found

    def rest(self) -> set[str]:
        """What is there, by name."""
        return set(self.running())


# Runs the module, and kills it as soon as the journal says a step, before anything of it is done.
KILLED = """
import json, os, signal, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_back as back
from ansible_collections.emorobcare.fleet.plugins.modules.stack_release import main
save, step = back.save_journal, sys.argv[1]
def saved(places, journal):
    written = save(places, journal)
    if journal.phase == step:
        os.kill(os.getpid(), signal.SIGKILL)
    return written
back.save_journal = saved
with patch_module_args(json.load(sys.stdin)):
    main()
"""


def kill_when(sides: Sides, options: dict[str, t.Any], step: str) -> None:
    """Deploy, and kill the module when it has entered a step."""
    process = sides.start(options, KILLED, step)
    assert process.wait() == -signal.SIGKILL, f"the run never came to step {step}"
