# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure model_pull beside others, and beside what the machine allows: one server, one run, all in turn.

The server is Debian's nginx on the loopback interface, so that no network is measured. All that is written is below
.cache/bench-models, but for verified-4GiB-tmpfs, which has a folder in /dev/shm while it runs. A run of everything
writes bench/models.json and the tables in docs/measurements.md; any other writes .cache/bench-models/models.json.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.emorobcare.fleet.tests.bench.models_cases import CASES, GIB, Case, scaled, warm_up
from ansible_collections.emorobcare.fleet.tests.bench.models_data import Data
from ansible_collections.emorobcare.fleet.tests.bench.models_peers import PEERS, Tools
from ansible_collections.emorobcare.fleet.tests.bench.models_process import adopt_orphans, end_strays
from ansible_collections.emorobcare.fleet.tests.bench.models_report import Measured, results, tables, with_block
from ansible_collections.emorobcare.fleet.tests.bench.models_run import Bench, run_case
from ansible_collections.emorobcare.fleet.tests.bench.models_server import Server
from ansible_collections.emorobcare.fleet.tests.bench.models_setup import (
    PATH,
    describe_machine,
    describe_tools,
    hub_environment,
    install,
)

CACHE = ROOT / ".cache" / "bench-models"
HUB = CACHE / "hub"
RESULTS = ROOT / "bench" / "models.json"
DOCUMENT = ROOT / "docs" / "measurements.md"
REQUIREMENTS = Path(__file__).resolve().parent / "models-requirements.txt"
REPEAT = 3


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def chosen(names: str, known: t.Sequence[str]) -> list[str]:
    """Return the names in a list with commas, in which `known` ones may also be only begun; none means all."""
    begun = [name.strip() for name in names.split(";" if ";" in names else ",") if name.strip()]
    unknown = [name for name in begun if not any(each.startswith(name) for each in known)]
    if unknown:
        raise SystemExit(f"there is no {', '.join(unknown)}; there are: {'; '.join(known)}")
    return [each for each in known if not begun or any(each.startswith(name) for name in begun)]


def options(words: t.Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure model_pull beside others.")
    parser.add_argument("--scale", type=float, default=1.0, help="so much of the bytes; 0.05 for a quick try")
    parser.add_argument("--cases", default="", help="these only, by comma; a name may be only begun")
    parser.add_argument("--peers", default="", help="likewise; by semicolon where a name has a comma")
    parser.add_argument("--repeat", type=int, default=REPEAT, help="so many rounds")
    asked = parser.parse_args(words)
    if asked.scale <= 0 or asked.repeat < 1:
        parser.error("--scale must be more than 0, and --repeat at least 1")
    return asked


@contextlib.contextmanager
def alone() -> t.Iterator[Path]:
    """Keep a second run out, and what an earlier one left behind; give the folder for what is gone afterwards."""
    CACHE.mkdir(parents=True, exist_ok=True)
    run = CACHE / "run"
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("another make bench-models is running here; two would measure each other") from None
        for left in [run, *Path("/dev/shm").glob("bench-models-*")]:
            shutil.rmtree(left, ignore_errors=True)
        run.mkdir()
        try:
            yield run
        finally:
            end_strays(keep=())
            shutil.rmtree(run, ignore_errors=True)


def end_on_signals() -> None:
    """Have what ends a program politely raise an exception, so that all is cleaned up."""

    def end(number: int, _frame: object) -> t.NoReturn:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def data_for(cases: t.Sequence[Case]) -> Data:
    """Return what is served, with room for what of it is to be made yet. Exits without."""
    content = Data(CACHE / "data")
    small = [warm_up(case) for case in cases]
    content.keep_only([*cases, *small, *CASES])
    need, free = content.bytes_to_make([*cases, *small]), shutil.disk_usage(CACHE).free
    if need > free - GIB:
        raise SystemExit(f"{need >> 20} MiB of files are to be made in {CACHE}, {free >> 20} MiB are free there")
    if need:
        say(f"making {need >> 20} MiB of random bytes")
    return content


def measure(asked: argparse.Namespace, run: Path) -> tuple[list[Measured], dict[str, t.Any]]:
    """Measure what is asked for; return it, and what is to be said of machine and tools."""
    missing = install(say)
    if why := hub_environment(HUB, REQUIREMENTS, say):
        missing["huggingface_hub"] = why
    tools = Tools(python=ROOT / ".venv" / "bin" / "python", hub_python=HUB / "bin" / "python", root=ROOT)
    peers = [peer for peer in PEERS if peer.name in chosen(asked.peers, [peer.name for peer in PEERS])]
    names = chosen(asked.cases, [case.name for case in CASES])
    cases = [scaled(case, asked.scale) for case in CASES if case.name in names]
    content = data_for(cases)
    measured: list[Measured] = []
    with Server(shutil.which("nginx", path=PATH) or "nginx", run / "server", content.folder) as server:
        bench = Bench(server, content, tools, peers, missing, run / "case", asked.repeat, say)
        for case in cases:
            started = time.monotonic()
            rows, limit = run_case(bench, case)
            measured.append((case, rows, limit))
            say(f"{case.name} took {time.monotonic() - started:.0f} s")
    return measured, {"machine": describe_machine(CACHE), "tools": describe_tools(tools.hub_python)}


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main(words: t.Sequence[str]) -> int:
    asked = options(words)
    everything = (asked.scale, asked.cases, asked.peers) == (1.0, "", "")
    started = time.monotonic()
    adopt_orphans()
    end_on_signals()
    with alone() as run:
        measured, about = measure(asked, run)
    about["run"] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "scale": asked.scale,
        "rounds": asked.repeat,
        "seconds": round(time.monotonic() - started),
    }
    written = RESULTS if everything else CACHE / "models.json"
    written.write_text(json.dumps(results(measured, about), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    text = tables(measured, about)
    if everything:
        DOCUMENT.write_text(with_block(DOCUMENT.read_text(encoding="utf-8"), text), encoding="utf-8")
    print(text)
    say(f"written: {os.path.relpath(written, ROOT)}{' and docs/measurements.md' if everything else ''}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
