# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host that releases are measured on: a lab host with an engine of its own, whose power can be cut."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.bench.images_machine import Machine

_PATIENCE = 60.0  # seconds for the host to be back


class Host(Machine):
    """A lab host, made for the measurement and removed after it unless it is kept for the next one.

    `packages` are installed on it; `playbook` makes its parts, and the command `agent` does what `ask` says.
    """

    packages: t.ClassVar[str] = "wrk"
    playbook: t.ClassVar[str] = "tests/bench/release.yml"
    agent: t.ClassVar[tuple[str, ...]] = ("/usr/bin/python3", "/root/fleet/tests/bench/release_agent.py")

    def __init__(self, root: Path, scenario: str, work: Path, *, keep: bool) -> None:
        super().__init__(root, scenario, work)
        self._keep = keep

    def __enter__(self) -> t.Self:
        if self._keep and self._docker("ps", "--quiet", "--filter", f"name=^{self._name}$"):
            self.bring_checkout()
            return self
        super().__enter__()
        self.set_up()
        self.run(f"apt-get -qqy install --no-install-recommends {self.packages}")
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._keep:
            super().__exit__(*exc)

    def make(self, part: str, stack: str, **variables: t.Any) -> float:
        """Run a part of the playbook for a stack's folder below the checkout; return the seconds of the command."""
        words = {"bench_part": part, "bench_stack": f"/root/fleet/{stack}", **variables}
        return self._timed(f"{self.playbook} -e {shlex.quote(json.dumps(words))}")[0]

    def ask(self, request: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Have the agent do something; return what it answers."""
        argv = ["docker", "exec", "-i", self._name, *self.agent]
        done = subprocess.run(argv, input=json.dumps(request), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"on the host, {request['do']} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return t.cast("dict[str, t.Any]", json.loads(done.stdout))

    def begin(self, request: t.Mapping[str, t.Any]) -> subprocess.Popen[str]:
        """Have the agent begin something; it goes with the host's power."""
        argv = ["docker", "exec", "-i", self._name, *self.agent]
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(json.dumps(request))
        return process

    def wait_for_start(self, service: str, act: t.Callable[[], None]) -> None:
        """Do something, and wait until a container of a service was started since."""
        argv = ["docker", "exec", self._name, "docker", "events", f"--since={time.time()}", "--format={{.ID}}"]
        argv += ["--filter=event=start", f"--filter=label=com.docker.compose.service={service}"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as events:
            act()
            assert events.stdout is not None
            events.stdout.readline()
            events.terminate()

    def cut_power(self) -> float:
        """Kill everything on the host at once; return the moment."""
        moment = time.time()
        self._docker("kill", self._name)
        return moment

    def power_on(self) -> None:
        self._docker("start", self._name)

    def wait_for_engine(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        argv = ["docker", "exec", self._name, "docker", "info"]
        while subprocess.run(argv, capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise SystemExit("the host's engine did not come back after its power was cut")
            time.sleep(0.1)

    def address(self) -> str:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self._docker("container", "inspect", "--format", form, self._name)

    def count(self, project_prefix: str, service: str) -> int:
        """Return how many containers of a service run in projects that begin so."""
        form = '{{.Label "com.docker.compose.project"}}'
        listed = self.run(f"docker ps --filter label=com.docker.compose.service={service} --format {shlex.quote(form)}")
        return sum(name.startswith(project_prefix) for name in listed.split())

    @contextlib.contextmanager
    def alone(self, project_prefix: str) -> t.Iterator[None]:
        """Have only the projects run whose names begin so, also after a power cut, while the block lasts."""
        form = '{{.ID}} {{.Label "com.docker.compose.project"}}'
        listed = (line.partition(" ") for line in self.run(f"docker ps --format {shlex.quote(form)}").splitlines())
        others = [id_ for id_, _blank, project in listed if not project.startswith(project_prefix)]
        if others:
            self.run(f"docker stop --time 5 {shlex.join(others)}")
        yield
        if others:
            self.run(f"docker start {shlex.join(others)}")

    def wrk(self, url: str, connections: int, seconds: int) -> subprocess.Popen[str]:
        """Start wrk on the host itself."""
        words = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s", "--latency", url]
        return subprocess.Popen(["docker", "exec", self._name, *words], stdout=subprocess.PIPE, text=True)

    def _docker(self, *words: str) -> str:
        return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()
