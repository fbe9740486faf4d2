# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure depots beside what else one would take: writing, verifying, applying; one host, one run, all in turn.

The host is a lab host with an engine of its own, made for it and removed afterwards. What is written lies on the file
system that its engine is on. A run of everything writes bench/depot.json and the tables in docs/measurements.md; any
other writes .cache/bench-depot/depot.json.
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

from ansible_collections.emorobcare.fleet.tests.bench.depot_measure import Bench, Builder
from ansible_collections.emorobcare.fleet.tests.bench.depot_report import BEGIN, END, Found, results, tables
from ansible_collections.emorobcare.fleet.tests.bench.images_report import with_block
from ansible_collections.emorobcare.fleet.tests.bench.models_setup import describe_machine

CACHE = ROOT / ".cache" / "bench-depot"
RESULTS = ROOT / "bench" / "depot.json"
DOCUMENT = ROOT / "docs" / "measurements.md"
REPEAT = 3
PARTS = ("write", "stick", "verify", "second", "plays", "apply")


def say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def options(words: t.Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure depots.")
    words_of_parts = f"these only, by comma, of: {', '.join(PARTS)}; what they need is written in any case"
    parser.add_argument("--parts", default=",".join(PARTS), help=words_of_parts)
    parser.add_argument("--repeat", type=int, default=REPEAT, help="so many rounds")
    parser.add_argument("--keep", action="store_true", help="keep the host, and take one that an earlier run kept")
    asked = parser.parse_args(words)
    asked.chosen = [part for part in PARTS if part in asked.parts.split(",")]
    if asked.repeat < 1 or not asked.chosen:
        parser.error("--repeat must be at least 1, and --parts must name what there is")
    return asked


def is_whole(asked: argparse.Namespace) -> bool:
    return len(asked.chosen) == len(PARTS) and asked.repeat >= REPEAT


def about(asked: argparse.Namespace, host: Builder, loads: t.Sequence[float], seconds: float) -> dict[str, t.Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "machine": describe_machine(CACHE),
        "run": {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit.stdout.strip(),
            "engine": host.engine_version(),
            "skopeo": host.skopeo_version(),
            "rounds": asked.repeat,
            "seconds": round(seconds),
            "load_average": list(loads),
        },
    }


def measure(bench: Bench, chosen: t.Collection[str], loads: list[float]) -> None:
    """Measure the parts, in an order in which the engine is emptied only when nobody writes from it any more."""
    say("making images, models and the release")
    bench.prepare()
    work: dict[str, t.Callable[[], None]] = {
        "write": bench.write_all,
        "stick": bench.write_stick,
        "verify": bench.verify_all,
        "second": bench.write_second,
        "plays": bench.play_all,
        "apply": bench.apply_all,
    }
    for part in PARTS:
        if part in chosen or part == "write":  # the others need what it wrote
            work[part]()
            loads.append(round(os.getloadavg()[0], 2))


def store(file: Path, data: t.Mapping[str, t.Any]) -> None:
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def main(words: t.Sequence[str]) -> int:
    asked = options(words)
    started, loads = time.monotonic(), [round(os.getloadavg()[0], 2)]
    CACHE.mkdir(parents=True, exist_ok=True)
    found = Found()
    say(f"setting the host up; the load average is {loads[0]}")
    with Builder(ROOT, "bench-depot", CACHE / "lab", keep=asked.keep) as host:
        bench = Bench(host, found, asked.repeat, say)
        try:
            measure(bench, asked.chosen, loads)
        finally:
            facts = about(asked, host, loads, time.monotonic() - started)
            store(CACHE / "depot.json", results(found, facts))  # what there is, lest a later failure takes it
            bench.clear()
    text = tables(found, facts)
    if is_whole(asked):
        store(RESULTS, results(found, facts))
        DOCUMENT.write_text(with_block(DOCUMENT.read_text(encoding="utf-8"), text, BEGIN, END), encoding="utf-8")
    print(text)
    written = "bench/depot.json and docs/measurements.md" if is_whole(asked) else ".cache/bench-depot/depot.json"
    say(f"written: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
