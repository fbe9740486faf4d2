# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry the measurements out: each way in turn, round after round, on what the round before left no trace of."""

from __future__ import annotations

import json
import os
import shlex
import time
import typing as t

from ansible_collections.emorobcare.fleet.tests.bench import depot_peers as peers
from ansible_collections.emorobcare.fleet.tests.bench.depot_peers import (
    APPLIERS,
    KEYS,
    STICK,
    STICK_WRITERS,
    STORE,
    TMP,
    VERIFIERS,
    WORK,
    WRITERS,
    Request,
    Subject,
    Way,
)
from ansible_collections.emorobcare.fleet.tests.bench.depot_report import Found, Sample, Samples
from ansible_collections.emorobcare.fleet.tests.bench.release_machine import Host

STACK, ENVIRONMENT = "stacks/emorobcare", "offline"
CHANGED = "stacks/emorobcare/images/api/emorobcare_api/app.py"
VERIFY_ROUNDS = 3  # in each round: it is over in a second

Say = t.Callable[[str], None]


class Builder(Host):
    """A lab host that builds, and then takes what it has built."""

    packages = "skopeo e2fsprogs"
    playbook = "tests/bench/depot.yml"
    agent = ("/root/fleet/.venv/bin/python", "/root/fleet/tests/bench/depot_agent.py")

    def skopeo_version(self) -> str:
        return self.run("skopeo --version").split()[-1]

    def bare(self) -> None:
        """Take all images and caches from the engine, and what was applied."""
        self.run("docker image ls -aq | sort -u | xargs -r docker image rm -f >/dev/null")
        self.run(f"docker builder prune -af >/dev/null; rm -rf {WORK}/host; sync -f {WORK}")


class Bench:
    """The parts of the measurement; what comes of them is in `found`."""

    def __init__(self, host: Builder, found: Found, rounds: int, say: Say) -> None:
        self._host = host
        self._found = found
        self._rounds = rounds
        self._say = say
        self._created = int(time.time())
        self._first: Subject | None = None

    def prepare(self) -> None:
        """Make images, models, the release, and keys; have the host trust what these sign."""
        self.clear()
        self._host.run(f"mkdir -p {WORK}; rm -rf {KEYS}")
        self._host.make("models", STACK, bench_environment=ENVIRONMENT)
        self._first = self._make_release("first")
        self._host.run(f".venv/bin/ansible-playbook -i localhost, playbooks/keys.yml -e fleet_keys={KEYS} 2>&1")
        self._enrol()

    def _enrol(self) -> None:
        """Have the host trust what the keys sign, and forget whatever newer release it has seen."""
        self._host.ask({"do": "enrol", "keys": KEYS})

    def _make_release(self, name: str) -> Subject:
        """Build what is to be built, and return the release that it makes."""
        file = f"/root/bench-{name}.json"
        self._host.make("images", STACK, bench_environment=ENVIRONMENT)
        self._host.make("document", STACK, bench_environment=ENVIRONMENT, bench_release=file)
        read = json.loads(self._host.run(f"cat {shlex.quote(file)}"))
        images = {one["reference"] for one in read["release"]["document"]["images"].values()}
        if read["pulled"] or "ingress" in read["release"]["document"]:
            raise SystemExit(f"{STACK} in {ENVIRONMENT} runs images that are not built here, which are not measured")
        return Subject(file, tuple(sorted(images)), self._created)

    def write_all(self) -> None:
        """Write the release, each way into an empty folder. The depot comes first: cp copies it."""
        for _round in range(self._rounds):
            self._host.run(f"rm -rf {WORK}/first {TMP}; sync -f {WORK}")
            for way in WRITERS:
                answer = self._ask("writing", self._found.write, way, peers.write(way, self.first))
                if way == "depot":
                    self._found.size = answer["release"]["bytes"]
        self._host.ask(peers.sums())

    def write_stick(self) -> None:
        """Write the release to a slow medium, and copy what the disk holds to it."""
        point = f"{WORK}/{STICK}"
        self._host.run(peers.pull_out())
        self._host.run(peers.plug_in(3 * self._found.size))
        for _round in range(self._rounds):
            for way in STICK_WRITERS:
                self._host.run(f"rm -rf {point}/* {TMP}; sync -f {point}; sync -f {WORK}")
                self._ask("writing to a stick", self._found.stick, way, peers.write(way, self.first, STICK))
        self._host.run(peers.pull_out())

    @property
    def first(self) -> Subject:
        assert self._first is not None, "prepare() comes first"
        return self._first

    def verify_all(self) -> None:
        """Read the depot, from disk and from memory."""
        for _round in range(VERIFY_ROUNDS * self._rounds):
            for way in VERIFIERS:
                self._ask("verifying from disk", self._found.cold, way, peers.verify(way, cold=True))
                self._ask("verifying", self._found.warm, way, peers.verify(way, cold=False))

    def write_second(self) -> None:
        """Change one line of one service, and write the next release to copies of what each way has written."""
        self._host.edit(CHANGED)
        second = self._make_release("second")
        ways: tuple[Way, ...] = tuple(way for way in WRITERS if way != "copy")
        for _round in range(self._rounds):
            self._host.run(f"rm -rf {WORK}/second && mkdir {WORK}/second")
            for way in ways:
                self._host.run(f"cp -a {peers.folder(way)} {WORK}/second && sync -f {WORK}")
                self._ask("writing the next", self._found.second, way, peers.write(way, second, "second"))

    def play_all(self) -> None:
        """Write a depot, and bring what it has, as users do. The engine is empty afterwards."""
        depot = f"{WORK}/whole"
        variables = {"bench_environment": ENVIRONMENT, "bench_depot": depot, "bench_keys": KEYS}
        for _round in range(self._rounds):
            self._host.run(f"rm -rf {depot}; sync -f {WORK}")
            self._played("the role writes a depot", "written", variables)
        for _round in range(self._rounds):
            self._host.bare()
            self._played("the role brings it to a bare engine", "synced", {**variables, "bench_root": f"{WORK}/host"})

    def _played(self, name: str, part: str, variables: t.Mapping[str, str]) -> None:
        seconds = self._host.make(part, STACK, **variables)
        self._found.plays.setdefault(name, []).append(seconds)
        self._say(f"{name}: {seconds:.1f} s")

    def apply_all(self) -> None:
        """Bring the first release to an engine and a store that have nothing."""
        self._enrol()
        for _round in range(self._rounds):
            for way in APPLIERS:
                self._host.bare()
                self._ask("applying", self._found.apply, way, peers.apply(way, self.first))
                self._check_applied()

    def _check_applied(self) -> None:
        """End the measurement where a way did not bring what it should."""
        self._host.run(f"docker image inspect {shlex.join(self.first.images)} >/dev/null")
        self._host.run(f"diff -r {STORE}/models {WORK}/host/models")

    def clear(self) -> None:
        """Remove what was written."""
        self._host.run(peers.pull_out())
        self._host.run(f"rm -rf {WORK}")

    def _ask(self, what: str, samples: Samples, way: Way, request: Request) -> dict[str, t.Any]:
        load = round(os.getloadavg()[0], 2)
        answer = self._host.ask(request)
        parts = {name: round(seconds, 4) for name, seconds in answer["steps"].items()}
        seconds, written, extra = round(answer["seconds"], 4), answer["written"], answer["peak_extra"]
        sample = Sample(seconds, written, extra, parts, answer["grown"], load)
        samples.setdefault(way, []).append(sample)
        steps = "".join(f", {name} {seconds:.2f}" for name, seconds in sample.steps.items())
        self._say(
            f"{what}, {way}: {sample.seconds:.2f} s{steps}; {sample.written / 1e6:.1f} MB written, "
            f"{sample.peak_extra / 1e6:.1f} MB of disk besides"
        )
        return answer
