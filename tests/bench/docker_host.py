# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure what a restart of the Docker engine costs those who use its containers, in three ways, all in turn.

Each engine runs on a lab host, made for it and removed afterwards, with one container that serves on a published port.
Meanwhile it is asked from another machine, from the host at its own address, and from the host's loopback, each request
on a connection of its own. A run of everything writes bench/docker-host.json and the table in docs/measurements.md; any
other writes .cache/bench-docker-host/docker-host.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.emorobcare.fleet.tests.bench.docker_host_report import (
    BEGIN,
    END,
    WAYS,
    Restart,
    Way,
    results,
    table,
)
from ansible_collections.emorobcare.fleet.tests.bench.images_report import with_block
from ansible_collections.emorobcare.fleet.tests.bench.models_setup import describe_machine
from ansible_collections.emorobcare.fleet.tests.faults._engines import Engines, Host
from ansible_collections.emorobcare.fleet.tests.faults._releases import base_image

CACHE = ROOT / ".cache" / "bench-docker-host"
RESULTS = ROOT / "bench" / "docker-host.json"
DOCUMENT = ROOT / "docs" / "measurements.md"
MACHINES = ("trixie", "bookworm")
REPEAT = 5

# The restart as the module does it, and nothing else.
HELD = """
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_restart import main
raise SystemExit(main(["restart"]))
"""


def say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def options(words: t.Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure restarts of the Docker engine.")
    parser.add_argument("--machines", default=",".join(MACHINES), help=f"by comma, of: {', '.join(MACHINES)}")
    parser.add_argument("--repeat", type=int, default=REPEAT, help="so many restarts of each kind")
    asked = parser.parse_args(words)
    asked.chosen = [name for name in MACHINES if name in asked.machines.split(",")]
    if asked.repeat < 1 or not asked.chosen:
        parser.error("--repeat must be at least 1, and --machines must name what there is")
    return asked


def is_whole(asked: argparse.Namespace) -> bool:
    return len(asked.chosen) == len(MACHINES) and asked.repeat >= REPEAT


def measure(host: Host, way: Way, proxy: bool, release: str) -> list[Restart]:
    """Restart an engine under load, once."""
    with host.asked() as clients:
        began = time.monotonic()
        if way == "held":
            host.execute(HELD)
        else:
            host.run("systemctl", "reset-failed", "docker.service")
            host.run("systemctl", "restart", "docker.service")
        seconds = round(time.monotonic() - began, 2)
    found = []
    for origin, client in clients.items():
        asked = client.asked
        longest = round(asked.longest, 3)
        found.append(Restart(release, way, proxy, origin, asked.requests, asked.lost, longest, seconds, asked.faults))
    return found


def measure_machine(host: Host, repeat: int) -> list[Restart]:
    release = host.docker("version", "--format", "{{.Server.Version}}").partition("+")[0]
    found: list[Restart] = []
    for proxy in (True, False):
        for way in WAYS:
            host.reset(json.dumps({"live-restore": way != "plain", "userland-proxy": proxy}))
            host.serve()
            for number in range(repeat):
                found += measure(host, way, proxy, release)
                lost = {one.origin: (one.faults, one.longest) for one in found[-3:]}
                say(f"{release}, {way}, proxy {proxy}, {number + 1}: {lost}")
    return found


def about(asked: argparse.Namespace, seconds: float) -> dict[str, t.Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "machine": describe_machine(CACHE),
        "run": {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit.stdout.strip(),
            "rounds": asked.repeat,
            "seconds": round(seconds),
            "load_average": round(os.getloadavg()[0], 2),
        },
    }


def store(file: Path, data: t.Mapping[str, t.Any]) -> None:
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def main(words: t.Sequence[str]) -> int:
    asked = options(words)
    started = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    found: list[Restart] = []
    with Engines(CACHE / "lab", base_image()) as engines:
        for name in asked.chosen:
            say(f"setting {name} up")
            found += measure_machine(engines.host(name), asked.repeat)
            store(CACHE / "docker-host.json", results(found, about(asked, time.monotonic() - started)))
    facts = about(asked, time.monotonic() - started)
    text = table(found, facts)
    if is_whole(asked):
        store(RESULTS, results(found, facts))
        DOCUMENT.write_text(with_block(DOCUMENT.read_text(encoding="utf-8"), text, BEGIN, END), encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
