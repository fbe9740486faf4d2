# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab host with systemd, sshd and an engine of its own, on which modules run as Ansible would run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.faults._releases import Result, docker
from ansible_collections.emorobcare.fleet.tests.faults._robot import ROOT, collection_code

ANSIBLE = Path(sys.executable).parent  # where the commands of the Ansible are that runs the tests
PATIENCE = 120.0  # seconds for whatever a test waits for
_POLL = 0.1  # seconds
_CODE = "/opt/code"
_HOST = "robot"  # the one of tests/faults/robot/hosts.yml
_RUN = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
name = "ansible_collections.emorobcare.fleet.plugins.modules." + sys.argv[1]
with patch_module_args(json.load(sys.stdin)):
    importlib.import_module(name).main()
"""


def wait_until(what: t.Callable[[], object]) -> None:
    """Wait until something is so; that it never is fails the test."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(_POLL)


@dataclass
class LabHost:
    """The machine; `work` is a folder for its keys, `scenario` a name that no other lab has."""

    work: Path
    scenario: str

    @property
    def name(self) -> str:
        return f"emorobcare-fleet-lab-{self.scenario}-{_HOST}"

    def start_up(self) -> LabHost:
        """Make the machine, in place of one that an earlier run has left."""
        for playbook in ("destroy", "create", "prepare"):
            self._ansible("ansible-playbook", f"molecule/lab/{playbook}.yml")
        role = "name=emorobcare.fleet.docker_host"
        self._ansible("ansible", "lab_hosts", "-m", "ansible.builtin.include_role", "-a", role)
        self.run("mkdir", _CODE)
        self.run("tar", "--extract", "--file=-", f"--directory={_CODE}", content=collection_code())
        self.write(f"{_CODE}/run_module.py", _RUN)
        return self

    def remove(self) -> None:
        self._ansible("ansible-playbook", "molecule/lab/destroy.yml")

    def run(self, *words: str, content: bytes | None = None) -> str:
        """Run a command on the machine, as root."""
        return docker("exec", *(["-i"] if content is not None else []), self.name, *words, content=content)

    def write(self, path: str, text: str) -> None:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, content=text.encode())

    def has(self, path: str) -> bool:
        return subprocess.run(["docker", "exec", self.name, "test", "-e", path], check=False).returncode == 0

    def module(self, module: str, **options: t.Any) -> Result:
        """Run a module by itself, and return its result, whatever it is."""
        return result_of(self.start(module, **options))

    def start(self, module: str, **options: t.Any) -> subprocess.Popen[bytes]:
        words = ["-e", f"PYTHONPATH={_CODE}", self.name, "python3", f"{_CODE}/run_module.py", module]
        return _fed(["docker", "exec", "-i", *words], options)

    def start_ssh(self, module: str, shared: str = "", **options: t.Any) -> subprocess.Popen[bytes]:
        """Start a module over SSH: on a connection of its own, or on one that all with the same name share."""
        words = ["sudo", "env", f"PYTHONPATH={_CODE}", "python3", f"{_CODE}/run_module.py", module]
        control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={self.work}/{shared}", "-o", "ControlPersist=60"]
        return _fed([*self._ssh(), *(control if shared else []), *self._address(), *words], options)

    def ssh(self, module: str, shared: str = "", **options: t.Any) -> Result:
        return result_of(self.start_ssh(module, shared, **options))

    def reached_by_ssh(self) -> bool:
        argv = [*self._ssh(), *self._address(), "true"]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def _address(self) -> list[str]:
        return [f"robot@{(self.work / f'{_HOST}.address').read_text()}"]

    def _ssh(self) -> list[str]:
        return [
            *("ssh", "-F", "/dev/null", "-i", str(self.work / "id_robot"), "-o", "IdentitiesOnly=yes"),
            *("-o", f"UserKnownHostsFile={self.work / 'known_hosts'}", "-o", f"HostKeyAlias={_HOST}"),
            *("-o", "ConnectTimeout=2", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
        ]

    def cut_power(self) -> None:
        """Cut the power, give it back, and wait until systemd has started all that it starts."""
        docker("kill", self.name)
        docker("start", self.name)
        argv = ["docker", "exec", self.name, "systemctl", "is-system-running"]
        wait_until(
            lambda: (
                subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
                in ("running", "degraded")
            )
        )

    def _ansible(self, program: str, *words: str) -> None:
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(self.work),
            "MOLECULE_SCENARIO_NAME": self.scenario,
            "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
        }
        inventories = ["-i", "molecule/lab/inventory/hosts.yml", "-i", "tests/faults/robot/hosts.yml"]
        # An engine is what this host is to have; what hardens it is what tests try one by one.
        command = [str(ANSIBLE / program), *inventories, "-e", "docker_host_harden=false", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"


def _fed(argv: list[str], options: dict[str, t.Any]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(options).encode())
    process.stdin.close()
    process.stdin = None
    return process


def result_of(process: subprocess.Popen[bytes]) -> Result:
    printed = process.communicate()[0]
    return t.cast(Result, json.loads(printed))
