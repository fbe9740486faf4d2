# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab host with sshd and an engine of its own, on which modules run as Ansible would run them."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import ansible.module_utils

from ansible_collections.emorobcare.fleet.tests.faults._releases import Result, docker, wait_for

ROOT = Path(__file__).resolve().parents[2]
_PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"  # that of the Ansible that runs the tests
_COLLECTION = "ansible_collections/emorobcare/fleet/plugins"
_PYTHON = "/usr/bin/python3"  # of the machine
_CODE = "/opt/code"
_SOON = 4.0  # seconds in which somebody gets in by SSH, on a machine that has more to do
_MODULE = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
name = "ansible_collections.emorobcare.fleet.plugins.modules." + sys.argv[1]
with patch_module_args(json.load(sys.stdin)):
    importlib.import_module(name).main()
"""


class LabHost:
    """The machine; it is there while the block lasts.

    :param work: a folder for its keys.
    :param scenario: a name that no other lab has.
    :param machine: its name, which is that of its inventory in tests/faults/lab as well.
    """

    def __init__(self, work: Path, scenario: str, machine: str) -> None:
        self.work, self.scenario, self.machine = work, scenario, machine

    @property
    def container(self) -> str:
        return f"emorobcare-fleet-lab-{self.scenario}-{self.machine}"

    def __enter__(self) -> t.Self:
        """Make the machine, in place of one that an earlier run has left."""
        faulthandler.cancel_dump_traceback_later()  # this takes minutes where the archive is slow
        self.work.mkdir(parents=True, exist_ok=True)
        self.play("molecule/lab/destroy.yml")
        with contextlib.ExitStack() as undo:
            undo.callback(self.__exit__)
            self.play("molecule/lab/create.yml", "molecule/lab/prepare.yml", "tests/faults/lab/set_up.yml")
            self.run("mkdir", _CODE)
            self.run("tar", "--extract", "--file=-", f"--directory={_CODE}", content=_collection_code())
            self.write(f"{_CODE}/run_module.py", _MODULE)
            self.set_up()
            undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self.play("molecule/lab/destroy.yml")

    def set_up(self) -> None:
        """Give the machine what else its tests need."""

    def ansible(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run playbooks for the machine."""
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(self.work),
            "MOLECULE_SCENARIO_NAME": self.scenario,
            "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
        }
        inventories = ["-i", "molecule/lab/inventory/hosts.yml", "-i", f"tests/faults/lab/{self.machine}.yml"]
        command = [str(_PLAYBOOK), *inventories, *words]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    def play(self, *playbooks: str) -> None:
        """Run playbooks, which are to succeed."""
        done = self.ansible(*playbooks)
        assert done.returncode == 0, f"{' '.join(done.args)} failed:\n{done.stdout}{done.stderr}"

    def run(self, *words: str, content: bytes | None = None, check: bool = True) -> str:
        """Run a command on the machine, as root."""
        pipe = ["-i"] if content is not None else []
        return docker("exec", *pipe, self.container, *words, content=content, check=check)

    def shell(self, script: str) -> str:
        return self.run("sh", "-ec", script)

    def write(self, path: str, text: str) -> None:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, content=text.encode())

    def has(self, path: str) -> bool:
        return subprocess.run(["docker", "exec", self.container, "test", "-e", path], check=False).returncode == 0

    def load(self, *images: str) -> None:
        """Give the machine's engine images of the engine that it runs on."""
        with subprocess.Popen(["docker", "image", "save", *images], stdout=subprocess.PIPE) as saved:
            load = ["docker", "exec", "-i", self.container, "docker", "image", "load"]
            subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)

    @property
    def address(self) -> str:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("container", "inspect", "--format", form, self.container)

    def module(self, module: str, **options: t.Any) -> Result:
        """Run a module by itself, and return its result, whatever it is."""
        return result_of(self.start(module, options))

    def start(self, module: str, options: t.Mapping[str, t.Any]) -> subprocess.Popen[bytes]:
        return _fed([*self.python, f"{_CODE}/run_module.py", module], options)

    def start_program(self, program: str, options: t.Mapping[str, t.Any], *words: str) -> subprocess.Popen[bytes]:
        """Start Python code with the collection at hand; it reads the options from its standard input."""
        return _fed([*self.python, "-c", program, *words], options)

    @property
    def python(self) -> list[str]:
        """What starts Python there, with the collection at hand."""
        return ["docker", "exec", "-i", "-e", f"PYTHONPATH={_CODE}", self.container, _PYTHON]

    def start_ssh(self, module: str, shared: str = "", **options: t.Any) -> subprocess.Popen[bytes]:
        """Start a module over SSH: on a connection of its own, or on one that all with the same name share."""
        words = ["sudo", "env", f"PYTHONPATH={_CODE}", _PYTHON, f"{_CODE}/run_module.py", module]
        control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={self.work}/{shared}", "-o", "ControlPersist=60"]
        return _fed([*self._ssh(), *(control if shared else []), f"robot@{self.address}", *words], options)

    def ssh(self, module: str, shared: str = "", **options: t.Any) -> Result:
        return result_of(self.start_ssh(module, shared, **options))

    def reached_by_ssh(self) -> bool:
        """Whether somebody who comes now gets in. One who has just come when the door closes waits in vain."""
        argv = [*self._ssh(), f"robot@{self.address}", "true"]
        try:
            # An ssh that is killed leaves its standard input non-blocking, which Ansible would refuse: not ours, then.
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_SOON)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def _ssh(self) -> list[str]:
        return [
            *("ssh", "-F", "/dev/null", "-i", str(self.work / "id_robot"), "-o", "IdentitiesOnly=yes"),
            *("-o", f"UserKnownHostsFile={self.work / 'known_hosts'}", "-o", f"HostKeyAlias={self.machine}"),
            *("-o", "ConnectTimeout=2", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
        ]

    def cut_power(self) -> None:
        """Cut the power, and give it back: systemd begins to start all that it starts."""
        docker("kill", self.container)
        docker("start", self.container)

    def wait_for_boot(self) -> None:
        """Wait until systemd has started all that it starts."""
        states = ("running", "degraded")
        wait_for(lambda: self.run("systemctl", "is-system-running", check=False) in states)


def _fed(argv: list[str], options: t.Mapping[str, t.Any]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(options).encode())
    process.stdin.close()
    process.stdin = None
    return process


def result_of(process: subprocess.Popen[bytes]) -> Result:
    """Wait for a module, and return what it printed."""
    printed = process.communicate()[0]
    return t.cast(Result, json.loads(printed))


def _collection_code() -> bytes:
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
