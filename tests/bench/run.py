# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure `make demo` on a machine that holds nothing yet: a lab host made for it, and removed afterwards.

Cold is the first run from a fresh clone: virtual environment, Docker engine, base images, images, models, deployment.
Warm is the run after `make demo-down DATA=1`, with the engine, its build cache and the package caches filled. No-op is
the run that finds everything in place. Times are whole commands, wall clock, in seconds. Writes bench/results.json.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = ROOT / ".venv" / "bin"
WORK = ROOT / ".cache" / "bench"
RESULTS = ROOT / "bench" / "results.json"
SCENARIO = "bench"
MACHINE = f"emorobcare-fleet-lab-{SCENARIO}-fresh"
NO_OPS = 3
WARMS = 3


@dataclass(frozen=True)
class Demo:
    """One `make demo`: wall clock in seconds, tasks that ran, those that changed something, what it printed."""

    seconds: float
    tasks: int
    changed: int
    ready: dict[str, float]
    up: float | None


def lab(playbook: str) -> None:
    """Run one of the lab's playbooks on the machine that is measured."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(WORK),
        "MOLECULE_SCENARIO_NAME": SCENARIO,
        "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
    }
    inventories = ["-i", "molecule/lab/inventory/hosts.yml", "-i", "tests/bench/hosts.yml"]
    command = [f"{BIN}/ansible-playbook", *inventories, f"molecule/lab/{playbook}.yml"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def on_machine(command: str) -> str:
    """Run a shell command on the machine; return what it prints."""
    argv = ["docker", "exec", MACHINE, "bash", "-c", command]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"on the machine, {command} failed:\n{done.stdout[-8000:]}{done.stderr[-4000:]}")
    return done.stdout


def clone() -> None:
    """Bring the committed state of this checkout to the machine, as a clone."""
    bundle = WORK / "fleet.bundle"
    subprocess.run(["git", "bundle", "create", "--quiet", str(bundle), "HEAD"], cwd=ROOT, check=True)
    on_machine("apt-get -q update && apt-get -qy install --no-install-recommends git make")
    subprocess.run(["docker", "cp", "--quiet", str(bundle), f"{MACHINE}:/root/fleet.bundle"], check=True)
    on_machine("cd /root && git clone --quiet fleet.bundle fleet")


def demo() -> Demo:
    started = time.monotonic()
    output = on_machine("cd /root/fleet && make demo 2>&1")
    seconds = time.monotonic() - started
    return read_demo(output, seconds)


def read_demo(output: str, seconds: float) -> Demo:
    """Read the recap and the summary table of a run."""
    recap = re.search(r"^localhost\s+: ok=(\d+)\s+changed=(\d+)", output, re.MULTILINE)
    if recap is None:
        raise SystemExit(f"make demo printed no recap:\n{output[-4000:]}")
    rows = re.findall(r"^(\S+)\s+(?:healthy|running|finished)\s+.*?\s([\d.]+) s$", output, re.MULTILINE)
    up = re.search(r": up in ([\d.]+) s", output)
    return Demo(
        seconds=round(seconds, 1),
        tasks=int(recap.group(1)),
        changed=int(recap.group(2)),
        ready={service: float(value) for service, value in rows},
        up=float(up.group(1)) if up else None,
    )


def image_sizes() -> dict[str, float]:
    """Return megabytes (10^6 bytes, unpacked, as the engine reports them) of the stack's images and their bases."""
    listed = on_machine(
        "docker image ls --format '{{.Repository}}:{{.Tag}}' | grep -E '^emorobcare(.fleet)?/'"
        " | xargs docker image inspect --format '{{index .RepoTags 0}} {{.Size}}'"
    )
    pairs = (line.rsplit(" ", 1) for line in listed.splitlines())
    return {reference.split(":")[0]: round(int(size) / 1e6, 1) for reference, size in pairs}


def measure() -> dict[str, t.Any]:
    cold = demo()
    no_ops = [demo() for _run in range(NO_OPS)]
    sizes = image_sizes()
    warms = []
    for _run in range(WARMS):
        on_machine("cd /root/fleet && make demo-down DATA=1 2>&1")
        warms.append(demo())
    return {
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "engine": on_machine("docker version --format '{{.Server.Version}}'").strip(),
            "commit": subprocess.run(
                ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
            ).stdout.strip(),
        },
        "demo_cold_seconds": cold.seconds,
        "demo_cold_tasks": cold.tasks,
        "demo_warm_seconds": statistics.median(run.seconds for run in warms),
        "demo_warm_runs": [run.seconds for run in warms],
        "demo_noop_seconds": statistics.median(run.seconds for run in no_ops),
        "demo_noop_runs": [run.seconds for run in no_ops],
        "demo_noop_tasks": no_ops[0].tasks,
        "demo_noop_changed": max(run.changed for run in no_ops),
        "image_megabytes": sizes,
        "start_to_ready_seconds": {
            service: statistics.median(run.ready[service] for run in warms) for service in warms[0].ready
        },
        "start_to_gate_passed_seconds": statistics.median(run.up for run in warms if run.up is not None),
    }


def table(results: dict[str, t.Any]) -> str:
    """Return the figures for people, each beside what it is to stay below."""
    rows: list[tuple[str, str, str]] = [
        ("make demo, cold", f"{results['demo_cold_seconds']:.0f} s, {results['demo_cold_tasks']} tasks", "600 s"),
        ("make demo, warm (median)", f"{results['demo_warm_seconds']:.1f} s", ""),
        (
            "make demo, no-op (median)",
            f"{results['demo_noop_seconds']:.1f} s, {results['demo_noop_tasks']} tasks, "
            f"{results['demo_noop_changed']} changed",
            "20 s, 0 changed",
        ),
        ("activation to gate passed (median)", f"{results['start_to_gate_passed_seconds']:.1f} s", "30 s"),
        *(
            (f"{name} from start to ready", f"{value:.1f} s", "")
            for name, value in results["start_to_ready_seconds"].items()
        ),
        *(
            (f"image {name}", f"{size:.1f} MB", "60 MB" if name.endswith("/frontend") else "300 MB")
            for name, size in sorted(results["image_megabytes"].items())
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{what:<{widths[0]}}  {value:>{widths[1]}}  {limit}".rstrip() for what, value, limit in rows)


def main() -> int:
    WORK.mkdir(parents=True, exist_ok=True)
    lab("destroy")
    lab("create")
    try:
        lab("prepare")
        clone()
        results = measure()
    finally:
        lab("destroy")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
