# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure releases beside what else one would take: one host, one run, all in turn.

The host is a lab host with an engine of its own, made for it and removed afterwards. The clients run here and ask the
host's own address. A run of everything writes bench/release.json and the tables in docs/measurements.md; any other
writes .cache/bench-release/release.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.emorobcare.fleet.tests.bench import release_measure as measure
from ansible_collections.emorobcare.fleet.tests.bench.images_report import with_block
from ansible_collections.emorobcare.fleet.tests.bench.models_setup import describe_machine
from ansible_collections.emorobcare.fleet.tests.bench.release_machine import Host
from ansible_collections.emorobcare.fleet.tests.bench.release_peers import EMOROBCARE, SMALL, Subject
from ansible_collections.emorobcare.fleet.tests.bench.release_report import BEGIN, END, results, tables

CACHE = ROOT / ".cache" / "bench-release"
RESULTS = ROOT / "bench" / "release.json"
DOCUMENT = ROOT / "docs" / "measurements.md"
REPEAT = 3
CUTS = 1
SUBJECTS = {subject.name: subject for subject in (SMALL, EMOROBCARE)}
PARTS = ("updates", "series", "wrk", "cuts")


def say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def options(words: t.Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure releases.")
    parser.add_argument("--stacks", default=",".join(SUBJECTS), help=f"these only, by comma, of: {', '.join(SUBJECTS)}")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"these only, by comma, of: {', '.join(PARTS)}")
    parser.add_argument("--repeat", type=int, default=REPEAT, help="so many updates each")
    parser.add_argument("--keep", action="store_true", help="keep the host, and take one that an earlier run kept")
    asked = parser.parse_args(words)
    asked.subjects = [subject for name, subject in SUBJECTS.items() if name in asked.stacks.split(",")]
    asked.chosen = [part for part in PARTS if part in asked.parts.split(",")]
    if asked.repeat < 1 or not asked.subjects or not asked.chosen:
        parser.error("--repeat must be at least 1, and --stacks and --parts must name what there is")
    return asked


def is_whole(asked: argparse.Namespace) -> bool:
    return len(asked.subjects) == len(SUBJECTS) and len(asked.chosen) == len(PARTS) and asked.repeat >= REPEAT


Keep = t.Callable[[t.Sequence[measure.Result], measure.Series | None], None]


def measure_subject(
    host: Host, subject: Subject, asked: argparse.Namespace, keep: Keep
) -> tuple[list[measure.Result], measure.Series | None]:
    """Measure a stack; `keep` is given what there is after each part, lest it is lost when a later one fails."""
    say(f"{subject.name}: making images and release, bringing it up in {len(subject.ways)} ways")
    found, long = measure.prepare(host, subject), None
    if "updates" in asked.chosen:
        for number in range(asked.repeat):
            for result in found:
                measure.update(host, result)
                say(f"{subject.name}, {result.peer.name}, update {number + 1}: {result.updates[-1]}")
        for _number in range(asked.repeat):
            for result in found:
                measure.no_op(host, result)
        keep(found, long)
    if "series" in asked.chosen and subject.marked:
        whole = asked.repeat >= REPEAT
        long = measure.series(host, found[0], *((measure.UPDATES, measure.BACKS) if whole else (2, 1)))
        say(f"series: {long}")
        keep(found, long)
    if "wrk" in asked.chosen and subject.marked:
        for result in found:
            measure.with_wrk(host, result)
            say(f"{result.peer.name}, wrk: {result.wrk_quiet} {result.wrk_update}")
            keep(found, long)
    if "cuts" in asked.chosen:
        for result in found:
            with host.alone(subject.project(result.peer.way)):
                for _number in range(min(asked.repeat, CUTS)):
                    measure.cut_power(host, result)
                    say(f"{subject.name}, {result.peer.name}, power cut: {result.cuts[-1]}")
                    keep(found, long)
    for result in found:
        measure.take_down(host, result)
    return found, long


def about(asked: argparse.Namespace, engine: str, loads: t.Sequence[float], seconds: float) -> dict[str, t.Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "machine": describe_machine(CACHE),
        "run": {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit.stdout.strip(),
            "engine": engine,
            "rounds": asked.repeat,
            "seconds": round(seconds),
            # Of the last minute: before anything was done, and after each stack, what was measured included.
            "load_average": list(loads),
        },
    }


def store(file: Path, data: t.Mapping[str, t.Any]) -> None:
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def main(words: t.Sequence[str]) -> int:
    asked = options(words)
    started, loads = time.monotonic(), [measure.load_average()]
    CACHE.mkdir(parents=True, exist_ok=True)
    found: list[measure.Result] = []
    long: measure.Series | None = None
    say(f"setting the host up; the load average is {loads[0]}")
    with Host(ROOT, "bench-release", CACHE / "lab", keep=asked.keep) as host:
        engine = host.engine_version()

        def facts() -> dict[str, t.Any]:
            return about(asked, engine, loads, time.monotonic() - started)

        def keep(measured: t.Sequence[measure.Result], one: measure.Series | None) -> None:
            store(CACHE / "release.json", results([*found, *measured], one or long, facts()))

        for subject in asked.subjects:
            measured, one = measure_subject(host, subject, asked, keep)
            found += measured
            long = one or long
            loads.append(measure.load_average())
            keep([], None)
    text = tables(found, long, facts())
    if is_whole(asked):
        store(RESULTS, results(found, long, facts()))
        DOCUMENT.write_text(with_block(DOCUMENT.read_text(encoding="utf-8"), text, BEGIN, END), encoding="utf-8")
    print(text)
    written = "bench/release.json and docs/measurements.md" if is_whole(asked) else ".cache/bench-release/release.json"
    say(f"written: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
