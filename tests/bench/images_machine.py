# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine to build on: a lab host with an engine of its own, whose caches can be thrown away without harm."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import typing as t
from pathlib import Path

_CHECKOUT = "/root/fleet"
# As the images that one finds in a registry under these names: a distribution with its usual tools.
_DEBIAN = "ca-certificates,curl,git,procps"
_PYTHON = f"{_DEBIAN},build-essential,pkg-config,python3,python3-dev,python3-pip,python3-venv"
_BUILT = re.compile(r"BUILT [^/\s]+/([^:\s]+):\S+ ([0-9.]+)")


class Machine:
    """A lab host, made for the measurement and removed after it."""

    def __init__(self, root: Path, scenario: str, work: Path) -> None:
        self._root, self._work = root, work
        self._name = f"emorobcare-fleet-lab-{scenario}-fresh"
        self._environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(work),
            "MOLECULE_SCENARIO_NAME": scenario,
            "MOLECULE_PROJECT_DIRECTORY": str(root),
        }

    def __enter__(self) -> Machine:
        self._work.mkdir(parents=True, exist_ok=True)
        for playbook in ("destroy", "create", "prepare"):
            self._lab(playbook)
        return self

    def __exit__(self, *exc: object) -> None:
        self._lab("destroy")

    def set_up(self) -> None:
        """Bring the checkout, and install the controller's environment and an engine."""
        self.bring_checkout()
        self.run("sh .ci/venv requirements.txt")
        self.play("engine")
        self.run("apt-get -qq update && apt-get -qqy install --no-install-recommends mmdebstrap mount")

    def bring_checkout(self) -> None:
        """Bring what git would commit of this checkout."""
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=self._root,
            check=True,
            capture_output=True,
        ).stdout
        there = b"\0".join(name for name in listed.split(b"\0") if name and (self._root / os.fsdecode(name)).exists())
        pack = ["tar", "--create", "--null", "--no-recursion", "--verbatim-files-from", "--files-from=-", "--file=-"]
        content = subprocess.run(pack, cwd=self._root, check=True, input=there, capture_output=True).stdout
        unpack = f"mkdir -p {_CHECKOUT} && tar --extract --no-same-owner --directory={_CHECKOUT}"
        subprocess.run(["docker", "exec", "-i", self._name, "sh", "-c", unpack], check=True, input=content)

    def run(self, command: str) -> str:
        """Run a shell command in the machine's checkout; return what it prints."""
        argv = ["docker", "exec", self._name, "bash", "-c", f"cd {_CHECKOUT} && {command}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"on the machine, {command} failed:\n{done.stdout[-8000:]}{done.stderr[-4000:]}")
        return done.stdout

    def play(self, part: str, stack: str = "") -> tuple[float, dict[str, float]]:
        """Run the roles; return the seconds of the whole command, and of each image that was built, by its name."""
        name = f"-e bench_stack={_CHECKOUT}/stacks/{shlex.quote(stack)}" if stack else ""
        whole, said = self._timed(f"tests/bench/images.yml -e bench_part={part} {name}")
        return whole, {name: float(seconds) for name, seconds in _BUILT.findall(said)}

    def play_nothing(self) -> float:
        """Return the seconds that a playbook takes whose modules do nothing."""
        return self._timed("tests/bench/nothing.yml")[0]

    def forget_all(self) -> None:
        """Take all images, caches of builds and caches of packages from the machine's own engine."""
        self.run("docker image ls -q | sort -u | xargs -r docker image rm -f >/dev/null")
        self.run("docker builder prune -af >/dev/null")
        self.run("rm -rf .cache .ansible; rm -rf /var/cache/apt/archives/*.deb; sync")

    def images(self, stack: str) -> dict[str, tuple[str, int]]:
        """Return id and bytes of a stack's newest images, by service."""
        form = "{{.Repository}}:{{.Tag}}"
        names = self.run(f"docker image ls --format '{form}' --filter 'reference={stack}/*'").split()
        raw = json.loads(self.run(f"docker image inspect {shlex.join(names)}")) if names else []
        found: dict[str, tuple[str, int]] = {}
        for image in sorted(raw, key=lambda one: str((one.get("Metadata") or {}).get("LastTagTime"))):
            found[image["RepoTags"][0].partition(":")[0].partition("/")[2]] = (image["Id"], image["Size"])
        return found

    def edit(self, file: str) -> None:
        """Change a source in the machine's checkout as a developer would who changes one line."""
        mark = {"js": "//", "html": "<!-- -->", "sql": "--"}.get(file.rpartition(".")[2], "#")
        self.run(f"printf '\\n%s %s\\n' {shlex.quote(mark)} $RANDOM$RANDOM >> {shlex.quote(file)}")

    def make_naive_bases(self) -> None:
        """Make what naive Dockerfiles start from, with the authorities that this machine trusts, for pip.

        An image of Python brings nothing that pip may not replace; Debian's own Python does (packaging, say).
        """
        environment = ("PIP_CERT=/etc/ssl/certs/ca-certificates.crt", "PIP_IGNORE_INSTALLED=1")
        changes = " ".join(f"--change 'ENV {one}'" for one in environment)
        for name, packages in (("debian", _DEBIAN), ("python", _PYTHON)):
            self.run(
                f"mmdebstrap --quiet --variant=minbase --include={packages} "
                "--customize-hook='cp /etc/ssl/certs/ca-certificates.crt \"$1/etc/ssl/certs/ca-certificates.crt\"' "
                "--customize-hook='rm -f \"$1\"/usr/lib/python3*/EXTERNALLY-MANAGED' "
                f"trixie - | docker import {changes} - naive/{name}"
            )

    def naive_size(self, dockerfile: str, context: str) -> tuple[int | None, str]:
        """Return the bytes of an image built as one would first, or why it cannot be."""
        argv = ["docker", "exec", self._name, "bash", "-c"]
        # Who writes such a Dockerfile has no .dockerignore.
        build = (
            f"cd {_CHECKOUT} && rm -rf /tmp/naive && cp -r {context} /tmp/naive && rm -f /tmp/naive/.dockerignore && "
            f"docker build --progress plain --tag naive/measured --file {dockerfile} /tmp/naive"
        )
        done = subprocess.run([*argv, build], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(done.stderr[-2000:], file=sys.stderr)  # not for the results: it may name the index of this machine
            return None, "its build fails"
        return int(self.run("docker image inspect --format '{{.Size}}' naive/measured")), ""

    def engine_version(self) -> str:
        return self.run("docker version --format '{{.Server.Version}}'").strip()

    def _timed(self, playbook: str) -> tuple[float, str]:
        """Run a playbook on the machine itself; return the seconds of the whole command, and what it printed."""
        started = time.monotonic()
        said = self.run(f".venv/bin/ansible-playbook -i localhost, {playbook} 2>&1")
        return time.monotonic() - started, said

    def _lab(self, playbook: str) -> None:
        inventories: t.Sequence[str] = ["-i", "molecule/lab/inventory/hosts.yml", "-i", "tests/bench/hosts.yml"]
        command = [str(self._root / ".venv/bin/ansible-playbook"), *inventories, f"molecule/lab/{playbook}.yml"]
        done = subprocess.run(
            command, cwd=self._root, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
