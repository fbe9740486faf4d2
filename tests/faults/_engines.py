# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lab hosts whose engines are changed and restarted: Docker 26.1 and 20.10 with systemd, and 26.1 without.

Each has a container that serves on port 8080. Clients ask from another machine and from the host itself.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.faults._lab_host import LabHost
from ansible_collections.emorobcare.fleet.tests.faults._releases import PYTHON, Result, wait_for

FILE = "/etc/docker/daemon.json"
PORT = 8080
HOSTS = ("trixie", "bookworm", "plain")

# Answers each request on a connection of its own; /slow takes its time.
SERVER = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1.5)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
Server(("", 8000), Handler).serve_forever()
"""

# What a container runs that only has to be there.
IDLE = (PYTHON, "-S", "-c", "import time; time.sleep(600)")

# Asks over and over, each time on a new connection, until its standard input ends; prints how that went.
CLIENT = """
import http.client, json, sys, threading, time
host, port, path, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
over, rows = threading.Event(), []
def ask():
    began, fault = time.monotonic(), ""
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        fault = "" if answer.status == 200 else str(answer.status)
    except (OSError, http.client.HTTPException) as exc:
        fault = type(exc).__name__
    finally:
        connection.close()
    rows.append((time.monotonic() - began, fault))
def work():
    while not over.is_set():
        ask()
        over.wait(0.01)
workers = [threading.Thread(target=work) for _number in range(threads)]
for worker in workers:
    worker.start()
while not rows:
    time.sleep(0.01)
print("asking", flush=True)
sys.stdin.read()
over.set()
for worker in workers:
    worker.join()
faults = {}
for _seconds, fault in rows:
    if fault:
        faults[fault] = faults.get(fault, 0) + 1
print(json.dumps({"requests": len(rows), "faults": faults, "longest": max(seconds for seconds, _fault in rows)}))
"""


@dataclass(frozen=True)
class Asked:
    """How requests went: how many, those that failed by their fault, seconds of the longest."""

    requests: int
    faults: dict[str, int]
    longest: float

    @property
    def lost(self) -> int:
        return sum(self.faults.values())


class Client:
    """Asks for as long as the block lasts."""

    def __init__(self, container: str, address: str, path: str = "/", threads: int = 4) -> None:
        words = ["docker", "exec", "-i", container, "/usr/bin/python3", "-c", CLIENT, address, str(PORT), path]
        self._argv = [*words, str(threads)]
        self.asked = Asked(0, {}, 0.0)

    def __enter__(self) -> Client:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "asking\n"
        return self

    def __exit__(self, *exc: object) -> None:
        printed = self._process.communicate()[0]
        self.asked = Asked(**json.loads(printed))


class Host(LabHost):
    """A machine with an engine, to which it gives an image to serve from; `visitor` is another one on its network."""

    def __init__(self, work: Path, machine: str, image: str) -> None:
        super().__init__(work, f"engines-{machine}", machine)
        self.visitor = f"emorobcare-fleet-lab-{self.scenario}-visitor"
        self._image = image

    def set_up(self) -> None:
        self.load(self._image)

    def docker(self, *words: str) -> str:
        return self.run("docker", *words)

    def daemon(self, **options: t.Any) -> Result:
        return self.module("docker_daemon", **options)

    def done(self, **options: t.Any) -> Result:
        """Run the module, which is to succeed."""
        result = self.daemon(**options)
        assert not result.get("failed"), result["msg"]
        return result

    def refused(self, reason: str, **options: t.Any) -> str:
        """Run the module, which is to refuse, in check mode as well; return the message."""
        before = self.file()
        for check in (True, False):
            result = self.daemon(**options, _ansible_check_mode=check)
            assert result.get("failed"), result
            assert result["reason"] == reason, result["msg"]
        assert self.file() == before
        return str(result["msg"])

    def execute(self, code: str) -> str:
        """Run code with the collection at hand."""
        done = subprocess.run([*self.python, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def reset(self, text: str | None = None) -> None:
        """Bring the engine back to how it came: no file but the one that is given, nothing remembered, no container."""
        self.shell("docker ps -aq | xargs -r docker rm -f; rm -rf /var/lib/fleet/host /run/fleet-docker-engine")
        self.put(text)
        self.restart_by_hand()

    def restart_by_hand(self, *arguments: str) -> None:
        """Restart the engine as an operator would; arguments are for one without systemd."""
        if self.machine != "plain":
            self.run("systemctl", "reset-failed", "docker.service")
            self.run("systemctl", "restart", "docker.service")
            return
        pid = "/run/docker-host.pid"
        self.run("start-stop-daemon", "--stop", "--pidfile", pid, "--name", "dockerd", "--retry", "TERM/30/KILL/5")
        log = ("--output", "/var/log/docker-host.log")
        begin = ["start-stop-daemon", "--start", "--background", "--make-pidfile", "--pidfile", pid, *log]
        self.run(*begin, "--exec", "/usr/sbin/dockerd", "--", *arguments)
        wait_for(lambda: self.run("docker", "version", "--format", "{{.Server.Version}}", check=False) != "")

    def file(self) -> str | None:
        found = self.run("sh", "-c", f"cat {FILE} 2>/dev/null || echo NONE")
        return None if found == "NONE" else found

    def put(self, text: str | None) -> None:
        """Put the engine's file there by hand."""
        if text is None:
            self.run("rm", "-f", FILE)
        else:
            self.write(FILE, text)

    def engine(self) -> str:
        """The process of the engine; another one means that it was restarted."""
        return self.run("cat", "/run/docker.pid")

    def started(self, container: str = "web") -> str:
        return self.docker("container", "inspect", "--format", "{{.State.StartedAt}}", container)

    def serve(self) -> None:
        """Start what answers, and wait until it does: what is refused before that is nobody's loss."""
        options = ["--detach", "--name", "web", "--restart", "unless-stopped", "--publish", f"{PORT}:8000"]
        options += ["--stop-signal", "SIGKILL"]  # it holds nothing that would have to be ended well
        self.docker("run", *options, self._image, PYTHON, "-S", "-c", SERVER)
        ask = f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{PORT}/').status)"
        wait_for(lambda: self.run("/usr/bin/python3", "-c", ask, check=False) == "200")

    @contextlib.contextmanager
    def asked(self, path: str = "/") -> t.Iterator[dict[str, Client]]:
        """Ask from another machine, from the loopback, and from the host at its own address, while the block lasts."""
        clients = {
            "network": Client(self.visitor, self.address, path),
            "loopback": Client(self.container, "127.0.0.1", path),
            "own address": Client(self.container, self.address, path, 2),
        }
        with contextlib.ExitStack() as stack:
            for client in clients.values():
                stack.enter_context(client)
            yield clients


class Engines:
    """The machines, each made when it is asked for first, and removed afterwards; `work` is a folder for their keys."""

    def __init__(self, work: Path, image: str) -> None:
        self._work, self._image = work, image
        self._hosts: dict[str, Host] = {}
        self._made = contextlib.ExitStack()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._made.close()

    def host(self, machine: str, *, again: bool = True) -> Host:
        """Return a machine whose engine is as it came, with one container that serves.

        :param again: whether to bring it there again where it may be there already.
        """
        made = self._hosts.get(machine)
        if made and not again and made.file() is None and made.docker("ps", "--quiet", "--filter", "name=^web$"):
            return made
        host = self.bare(machine)
        host.serve()
        return host

    def bare(self, machine: str) -> Host:
        """Return a machine whose engine is as it came, with no container."""
        if machine not in self._hosts:
            self._hosts[machine] = self._made.enter_context(Host(self._work / machine, machine, self._image))
        self._hosts[machine].reset()
        return self._hosts[machine]
