# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab host whose power can be cut: systemd, an engine of its own, fleet-recover.service, and a stack with sides."""

from __future__ import annotations

import http.client
import json
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.tests.faults._lab_host import LabHost
from ansible_collections.emorobcare.fleet.tests.faults._releases import PYTHON, Result
from ansible_collections.emorobcare.fleet.tests.faults._sides import KILLED, Sides

PORT = 8080
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


class Robot:
    """The machine, with systemd; `sides` makes the releases of its stack. Collects a row for each power cut."""

    def __init__(self, host: LabHost, sides: Sides) -> None:
        host.play("tests/faults/lab/recovery.yml")
        host.load(sides.image, sides.ingress)
        self.host, self.sides = host, sides
        self.rows: list[tuple[str, ...]] = []

    @property
    def base(self) -> str:
        return f"{_STACKS}/{self.sides.stack}"

    def release(self, text: str, **more: t.Any) -> dict[str, t.Any]:
        """The module's options for a release of this text, whose database is another one too."""
        route = {"service": "api", "port": 8000, "path": "/", "host": None, "strip": False, "tcp": None}
        door = {"image": self.sides.ingress, "http": f"0.0.0.0:{PORT}", "https": None, "tls": None, "routes": [route]}
        snapshot = {"snapshot": [PYTHON, "-S", "-c", "pass"]}
        more = {"timeout": 60.0, **more}
        return self.sides.sided(text, database=text, more={"db": snapshot}, ingress=door, **more)

    def deploy(self, options: dict[str, t.Any]) -> Result:
        result = self.host.module("stack_release", **options)
        assert not result.get("failed"), result["msg"]
        return result

    def kill_when(self, options: dict[str, t.Any], step: str) -> None:
        """Deploy, and kill the module when it has entered a step."""
        process = self.host.start_program(KILLED, options, step)
        printed = process.communicate()[0]
        assert process.returncode == _KILLED, f"the run never came to step {step}: {printed.decode()}"
        assert self.journal()["phase"] == step

    def boot(self) -> Boot:
        """Cut the power, give it back, and wait until boot has recovered; nobody else does anything."""
        self.host.cut_power()
        began = time.monotonic()
        address = self.host.address
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
        return serving(self.host.address)

    def journal(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(self.host.run("cat", f"{self.base}/state.json")))

    def running(self) -> dict[str, str]:
        """The environment of each container, by project and service without the stack's own name: `blue/api`."""
        ids = self.host.run("docker", "ps", "--all", "--quiet", "--no-trunc").split()
        found = {}
        for item in json.loads(self.host.run("docker", "container", "inspect", *ids)) if ids else []:
            labels = item["Config"]["Labels"]
            project = labels["com.docker.compose.project"][len(self.sides.stack) + 1 :]
            found[f"{project}/{labels['com.docker.compose.service']}"] = " ".join(item["Config"]["Env"])
        return found

    def _recovery_ended(self) -> bool:
        """Whether the service has run since the machine came up, and ended well; an end without hope is an error."""
        names = ("ActiveState", "Result", "ExecMainExitTimestampMonotonic")
        asked = ("systemctl", "show", "fleet-recover.service", f"--property={','.join(names)}")
        told = self.host.run(*asked, check=False)
        facts = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        assert facts.get("ActiveState") != "failed", self._said()
        ended = facts.get("ExecMainExitTimestampMonotonic", "0") != "0"
        return ended and facts["ActiveState"] == "inactive"

    def _said(self) -> str:
        return self.host.run("journalctl", "--unit=fleet-recover", "--boot", "--output=cat", "--no-pager")


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
