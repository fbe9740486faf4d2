# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab host whose power can be cut: systemd, an engine of its own, fleet-recover.service, and a stack with sides."""

from __future__ import annotations

import http.client
import io
import json
import os
import subprocess
import tarfile
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import ansible.module_utils

from ansible_collections.emorobcare.fleet.tests.faults._releases import (
    PYTHON,
    RUN_MODULE,
    Result,
    docker,
)
from ansible_collections.emorobcare.fleet.tests.faults._sides import KILLED, Sides

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = "power-cut"
PORT = 8080
_CODE = "/root/code"
_COLLECTION = "ansible_collections/emorobcare/fleet/plugins"
_STACKS = "/var/lib/fleet/stacks"
_KILLED = 137  # exit code that Docker gives to what was killed
_PROBE = 0.05  # seconds between two requests
_PATIENCE = 300.0  # seconds for a whole boot: this machine may have more to do


@dataclass(frozen=True)
class Boot:
    """What happened after a power cut; seconds since the power came back."""

    first: str
    served_after: float
    recovered_after: float
    said: str


@dataclass
class Robot:
    """The machine; `work` is a folder for its keys, `sides` makes the releases of its stack."""

    work: Path
    sides: Sides
    rows: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"emorobcare-fleet-lab-{SCENARIO}-robot"

    @property
    def base(self) -> str:
        return f"{_STACKS}/{self.sides.stack}"

    def __enter__(self) -> Robot:
        for playbook in ("destroy", "create", "prepare"):
            self._play(f"molecule/lab/{playbook}.yml")
        self._play("tests/faults/robot/set_up.yml")
        images = [self.sides.image, self.sides.ingress]
        with subprocess.Popen(["docker", "image", "save", *images], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["docker", "exec", "-i", self.name, "docker", "image", "load"],
                stdin=saved.stdout,
                check=True,
                capture_output=True,
            )
        unpack = f"mkdir {_CODE} && tar --extract --file=- --directory={_CODE}"
        self.run("sh", "-c", unpack, content=collection_code())
        return self

    def __exit__(self, *exc: object) -> None:
        self._play("molecule/lab/destroy.yml")

    def run(self, *words: str, content: bytes | None = None) -> str:
        """Run a command on the machine."""
        return docker("exec", *(["-i"] if content is not None else []), self.name, *words, content=content)

    def release(self, text: str, **more: t.Any) -> dict[str, t.Any]:
        """The module's options for a release of this text, whose database is another one too."""
        route = {"service": "api", "port": 8000, "path": "/", "host": None, "strip": False, "tcp": None}
        door = {"image": self.sides.ingress, "http": f"0.0.0.0:{PORT}", "https": None, "tls": None, "routes": [route]}
        snapshot = {"snapshot": [PYTHON, "-S", "-c", "pass"]}
        more = {"timeout": 60.0, **more}
        return self.sides.sided(text, database=text, more={"db": snapshot}, ingress=door, **more)

    def deploy(self, options: dict[str, t.Any]) -> Result:
        """Run the module on the machine, as Ansible would."""
        process = self.start(options)
        printed = process.communicate()[0]
        result = t.cast(Result, json.loads(printed))
        assert not result.get("failed"), result["msg"]
        return result

    def start(self, options: dict[str, t.Any], program: str = RUN_MODULE, *words: str) -> subprocess.Popen[bytes]:
        argv = ["docker", "exec", "-i", "-e", f"PYTHONPATH={_CODE}", self.name, "/usr/bin/python3", "-c", program]
        process = subprocess.Popen([*argv, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(json.dumps(options).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def kill_when(self, options: dict[str, t.Any], step: str) -> None:
        """Deploy, and kill the module when it has entered a step."""
        process = self.start(options, KILLED, step)
        printed = process.communicate()[0]
        assert process.returncode == _KILLED, f"the run never came to step {step}: {printed.decode()}"
        assert self.journal()["phase"] == step

    def cut_power(self) -> Boot:
        """Cut the power, give it back, and wait until boot has recovered; nobody else does anything."""
        docker("kill", self.name)
        docker("start", self.name)
        began = time.monotonic()
        address = self._address()
        first = ""
        served = ended = 0.0
        while not (first and ended):
            now = time.monotonic() - began
            assert now < _PATIENCE, self._said()
            if not first:
                first, served = serving(address) or "", now
            elif self._recovery_ended():
                ended = now
            time.sleep(_PROBE)
        return Boot(first, served, ended, self._said())

    def serving(self) -> str | None:
        return serving(self._address())

    def journal(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(self.run("cat", f"{self.base}/state.json")))

    def running(self) -> dict[str, str]:
        """The environment of each container, by project and service without the stack's own name: `blue/api`."""
        ids = self.run("docker", "ps", "--all", "--quiet", "--no-trunc").split()
        found = {}
        for item in json.loads(self.run("docker", "container", "inspect", *ids)) if ids else []:
            labels = item["Config"]["Labels"]
            project = labels["com.docker.compose.project"][len(self.sides.stack) + 1 :]
            found[f"{project}/{labels['com.docker.compose.service']}"] = " ".join(item["Config"]["Env"])
        return found

    def _address(self) -> str:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("container", "inspect", "--format", form, self.name)

    def _recovery_ended(self) -> bool:
        """Whether the service has run since the machine came up, and ended well; an end without hope is an error."""
        names = ("ActiveState", "Result", "ExecMainExitTimestampMonotonic")
        argv = [
            "docker",
            "exec",
            self.name,
            "systemctl",
            "show",
            "fleet-recover.service",
            f"--property={','.join(names)}",
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        facts = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        assert facts.get("ActiveState") != "failed", self._said()
        ended = facts.get("ExecMainExitTimestampMonotonic", "0") != "0"
        return ended and facts["ActiveState"] == "inactive"

    def _said(self) -> str:
        return self.run("journalctl", "--unit=fleet-recover", "--boot", "--output=cat", "--no-pager")

    def _play(self, playbook: str) -> None:
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(self.work),
            "MOLECULE_SCENARIO_NAME": SCENARIO,
            "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
        }
        inventories = ["-i", "molecule/lab/inventory/hosts.yml", "-i", "tests/faults/robot/hosts.yml"]
        command = [str(ROOT / ".venv" / "bin" / "ansible-playbook"), *inventories, playbook]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"


def serving(address: str) -> str | None:
    """The text of the release that serves at an address, None where nothing does."""
    connection = http.client.HTTPConnection(address, PORT, timeout=5)
    try:
        connection.request("GET", "/data")
        answer = connection.getresponse()
        return str(json.loads(answer.read())["text"]) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def collection_code() -> bytes:
    """What modules need to run without a controller: this collection's code and Ansible's for hosts, as a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for part in ("modules", "module_utils"):
            tar.add(ROOT / "plugins" / part, f"{_COLLECTION}/{part}")
        library = Path(next(iter(ansible.module_utils.__path__)))
        tar.add(library, "ansible/module_utils")
        tar.add(library.parent / "release.py", "ansible/release.py")
        tar.addfile(tarfile.TarInfo("ansible/__init__.py"))
    return buffer.getvalue()
