# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lab hosts whose engines are changed and restarted: Docker 26.1 and 20.10 with systemd, and 26.1 without.

Each has a container that serves on port 8080. Clients ask from another machine and from the host itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.faults._releases import PYTHON, Result, docker, wait_for
from ansible_collections.emorobcare.fleet.tests.faults._robot import ROOT, collection_code

FILE = "/etc/docker/daemon.json"
PORT = 8080
HOSTS = ("trixie", "bookworm", "plain")
_CODE = "/root/code"
_PROJECT = "emorobcare-fleet-lab-engines"
_VISITOR = "visitor"

RUN_MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emorobcare.fleet.plugins.modules.docker_daemon import main
with patch_module_args(json.load(sys.stdin)):
    main()
"""

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


@dataclass(frozen=True)
class Host:
    """A machine with an engine; `visitor` is another one on its network."""

    name: str
    container: str
    visitor: str

    def run(self, *words: str, content: bytes | None = None, check: bool = True) -> str:
        """Run a command on the machine."""
        pipe = ["-i"] if content is not None else []
        return docker("exec", *pipe, self.container, *words, content=content, check=check)

    def docker(self, *words: str) -> str:
        return self.run("docker", *words)

    def module(self, **options: t.Any) -> Result:
        """Run the module on the machine, as Ansible would."""
        printed = self.start(options).communicate()[0]
        return t.cast(Result, json.loads(printed))

    def start(self, options: t.Mapping[str, t.Any], program: str = RUN_MODULE, *words: str) -> subprocess.Popen[bytes]:
        argv = ["docker", "exec", "-i", "-e", f"PYTHONPATH={_CODE}", self.container, "/usr/bin/python3", "-c", program]
        process = subprocess.Popen([*argv, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(json.dumps(options).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def done(self, **options: t.Any) -> Result:
        """Run the module, which is to succeed."""
        result = self.module(**options)
        assert not result.get("failed"), result["msg"]
        return result

    def refused(self, reason: str, **options: t.Any) -> str:
        """Run the module, which is to refuse, in check mode as well; return the message."""
        before = self.file()
        for check in (True, False):
            result = self.module(**options, _ansible_check_mode=check)
            assert result.get("failed"), result
            assert result["reason"] == reason, result["msg"]
        assert self.file() == before
        return str(result["msg"])

    def python(self, code: str) -> str:
        """Run code with the collection at hand."""
        return self.run("env", f"PYTHONPATH={_CODE}", "/usr/bin/python3", "-c", code)

    def reset(self, text: str | None = None) -> None:
        """Bring the engine back to how it came: no file but the one that is given, nothing remembered, no container."""
        self.run("sh", "-c", "docker ps -aq | xargs -r docker rm -f")
        self.run("sh", "-c", "rm -rf /var/lib/fleet/host /run/fleet-docker-engine")
        self.write(text)
        self.restart_by_hand()

    def restart_by_hand(self, *arguments: str) -> None:
        """Restart the engine as an operator would; arguments are for one without systemd."""
        if self.name != "plain":
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

    def write(self, text: str | None) -> None:
        """Put the file there by hand."""
        if text is None:
            self.run("rm", "-f", FILE)
        else:
            self.run("sh", "-c", f"mkdir -p /etc/docker && cat > {FILE}", content=text.encode())

    def engine(self) -> str:
        """The process of the engine; another one means that it was restarted."""
        return self.run("cat", "/run/docker.pid")

    def started(self, container: str = "web") -> str:
        return self.docker("container", "inspect", "--format", "{{.State.StartedAt}}", container)

    @property
    def address(self) -> str:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("container", "inspect", "--format", form, self.container)

    def serve(self, image: str, *words: str, name: str = "web") -> None:
        """Start what answers, and wait until it does: what is refused before that is nobody's loss."""
        options = ["--detach", "--name", name, "--restart", "unless-stopped", "--publish", f"{PORT}:8000"]
        options += ["--stop-signal", "SIGKILL", *words]  # it holds nothing that would have to be ended well
        self.docker("run", *options, image, PYTHON, "-S", "-c", SERVER)
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
    """The machines, each made when it is asked for first, and removed afterwards.

    :param work: a folder for their keys.
    :param before_each: is called before each playbook, of which a machine takes several.
    """

    def __init__(self, work: Path, image: str, before_each: t.Callable[[], None] = lambda: None) -> None:
        self._work, self._image, self._before_each = work, image, before_each
        self._hosts: dict[str, Host] = {}

    def __enter__(self) -> Engines:
        return self

    def __exit__(self, *exc: object) -> None:
        for name in self._hosts:
            self._play(name, "molecule/lab/destroy.yml")

    def host(self, name: str, *, again: bool = True) -> Host:
        """Return a machine whose engine is as it came, with one container that serves.

        :param again: whether to bring it there again where it may be there already.
        """
        if name not in self._hosts:
            self._hosts[name] = self._made(name)
        host = self._hosts[name]
        if not again and host.file() is None and host.docker("ps", "--quiet", "--filter", "name=^web$"):
            return host
        host.reset()
        host.serve(self._image)
        return host

    def _made(self, name: str) -> Host:
        for playbook in ("molecule/lab/destroy", "molecule/lab/create", "molecule/lab/prepare"):
            self._play(name, f"{playbook}.yml")
        self._play(name, "tests/faults/engines/set_up.yml")
        host = Host(name, f"{_PROJECT}-{name}-{name}", f"{_PROJECT}-{name}-{_VISITOR}")
        self.bring(host)
        return host

    def bring(self, host: Host) -> None:
        """Bring the code, and an image to serve from."""
        host.run("sh", "-c", f"rm -rf {_CODE} && mkdir {_CODE} && tar -xf - -C {_CODE}", content=collection_code())
        with subprocess.Popen(["docker", "image", "save", self._image], stdout=subprocess.PIPE) as saved:
            load = ["docker", "exec", "-i", host.container, "docker", "image", "load"]
            subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)

    def _play(self, name: str, playbook: str) -> None:
        self._before_each()
        work = self._work / name
        work.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(work),
            "MOLECULE_SCENARIO_NAME": f"engines-{name}",
            "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
        }
        inventories = ["-i", "molecule/lab/inventory/hosts.yml", "-i", f"tests/faults/engines/{name}.yml"]
        command = [str(ROOT / ".venv" / "bin" / "ansible-playbook"), *inventories, playbook]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
