# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure the stacks' images: how large beside naive ones, how long from nothing, with nothing to do, with new code.

All happens in the engine of a lab host that is made for it, so that throwing caches away harms nobody. Times are whole
commands (ansible-playbook and all), wall clock, in seconds. A run of everything writes bench/images.json and the tables
in docs/measurements.md; any other writes .cache/bench-images/images.json.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.emorobcare.fleet.tests.bench.images_machine import Machine
from ansible_collections.emorobcare.fleet.tests.bench.images_report import (
    Service,
    Stack,
    family_of,
    results,
    tables,
    with_block,
)
from ansible_collections.emorobcare.fleet.tests.bench.models_setup import describe_machine

CACHE = ROOT / ".cache" / "bench-images"
RESULTS = ROOT / "bench" / "images.json"
DOCUMENT = ROOT / "docs" / "measurements.md"
NAIVE = Path("bench/naive")
REPEAT = 2
SOURCES = ("*.py", "app.js")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def options(words: t.Sequence[str], known: t.Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the stacks' images.")
    parser.add_argument("--stacks", default="", help=f"these only, by comma, of: {', '.join(known)}")
    parser.add_argument("--naive", action="store_true", help="only find out, and keep, how large naive images are")
    parser.add_argument("--repeat", type=int, default=REPEAT, help="so many rounds")
    asked = parser.parse_args(words)
    asked.chosen = [name for name in known if not asked.stacks or name in asked.stacks.split(",")]
    if asked.repeat < 1 or not asked.chosen:
        parser.error("--repeat must be at least 1, and --stacks must name one that there is")
    return asked


@functools.cache
def contexts_of(stack: str) -> dict[str, Path]:
    """Return the context of each image of a stack below the checkout; several may share one."""
    folder = Path("stacks") / stack
    images = yaml.safe_load((ROOT / folder / "stack.yml").read_text(encoding="utf-8"))["images"]
    return {service: folder / image["context"] for service, image in images.items()}


def source_of(context: Path) -> str:
    """Return the file that a developer changes most: the largest one that is a program, tests excepted."""
    files = [file for form in SOURCES for file in sorted((ROOT / context).rglob(form))]
    chosen = max(files, key=lambda file: file.stat().st_size, default=None)
    return str(chosen.relative_to(ROOT)) if chosen else ""


def naive_dockerfile(stack: str, service: str) -> str:
    """Return the naive Dockerfile of a service: its own, or that of its family."""
    files = [file.name for file in (ROOT / contexts_of(stack)[service]).glob("*")]
    for folder in (NAIVE / stack / service, NAIVE / (family_of(files) or "none")):
        if (ROOT / folder / "Dockerfile").is_file():
            return str(folder / "Dockerfile")
    return ""


def from_nothing(machine: Machine, stacks: t.Sequence[Stack]) -> None:
    """One round: all caches gone, each stack built; what came out is noted."""
    machine.forget_all()
    for stack in stacks:
        stack.cold.append(machine.play("images", stack.name)[0])
        say(f"{stack.name} from nothing: {stack.cold[-1]:.1f} s")
        for name, (id_, size) in sorted(machine.images(stack.name).items()):
            service = next((one for one in stack.services if one.name == name), None)
            if service is None:
                files = [file.name for file in (ROOT / contexts_of(stack.name)[name]).glob("*")]
                service = Service(stack.name, name, family_of(files), size)
                stack.services.append(service)
            service.ids.append(id_)


def with_little_to_do(machine: Machine, stack: Stack, rounds: int) -> None:
    """Measure runs that find all in place, and runs after a change of one line in each service."""
    built = machine.images(stack.name)
    for _round in range(rounds):
        stack.no_op.append(machine.play("images", stack.name)[0])
        stack.no_modules.append(machine.play_nothing())
    if machine.images(stack.name) != built:
        raise SystemExit(f"{stack.name}: a run that had nothing to do built an image")
    for context in sorted(set(contexts_of(stack.name).values())):
        source = source_of(context)
        affected = [one for one in stack.services if contexts_of(stack.name)[one.name] == context]
        for _round in range(rounds if source else 0):
            machine.edit(source)
            seconds, built_in = machine.play("images", stack.name)
            for service in affected:
                service.code_seconds.append(built_in[service.name])
                service.code_run_seconds.append(seconds)
            built, before = machine.images(stack.name), built
            changed = {name for name in built if built[name] != before.get(name)}
            if changed != {one.name for one in affected}:
                raise SystemExit(f"{stack.name}: a change of {source} built {', '.join(sorted(changed)) or 'nothing'}")
    say(f"{stack.name}: nothing to do {stack.no_op[-1]:.1f} s, Ansible alone {stack.no_modules[-1]:.1f} s")


class NaiveSizes:
    """Bytes of naive images by what goes into them: sizes, unlike times, need not be measured again with the rest."""

    def __init__(self, machine: Machine, kept: Path) -> None:
        self._machine, self._kept = machine, kept
        self._sizes: dict[str, int] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        self._has_bases = False

    def of(self, stack: str, service: str) -> tuple[int | None, str]:
        """Return the bytes of a service's naive image, built where they are not known, or why there are none."""
        dockerfile, context = naive_dockerfile(stack, service), contexts_of(stack)[service]
        if not dockerfile:
            return None, "no naive Dockerfile"
        known = naive_input(dockerfile, context)
        if known in self._sizes:
            return self._sizes[known], ""
        if not self._has_bases:
            self._machine.make_naive_bases()
            self._has_bases = True
        size, why_not = self._machine.naive_size(dockerfile, str(context))
        if size is not None:
            self._sizes[known] = size
            self._kept.write_text(json.dumps(self._sizes, indent=2) + "\n", encoding="utf-8")
        return size, why_not


def naive_input(dockerfile: str, context: Path) -> str:
    """Return the SHA-256 of a naive Dockerfile and all files of a context."""
    whole = hashlib.sha256()
    files = (path for path in (ROOT / context).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for file in (ROOT / dockerfile, *sorted(files)):
        whole.update(f"{file.relative_to(ROOT)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def beside_naive(machine: Machine, stacks: t.Sequence[Stack]) -> None:
    """Build each service as one would first."""
    sizes = NaiveSizes(machine, CACHE / "naive.json")
    for service in (service for stack in stacks for service in stack.services):
        service.naive, service.why_not = sizes.of(service.stack, service.name)
        say(f"{service.stack}/{service.name}: {service.size / 1e6:.1f} MB, naive {(service.naive or 0) / 1e6:.1f} MB")


def naive_alone(names: t.Sequence[str]) -> None:
    """Find out the naive sizes, which are kept for a later run."""
    with Machine(ROOT, "bench-images", CACHE / "lab") as machine:
        machine.set_up()
        sizes = NaiveSizes(machine, CACHE / "naive.json")
        for stack in names:
            for service in contexts_of(stack):
                say(f"{stack}/{service}: naive {sizes.of(stack, service)}")


def measure(names: t.Sequence[str], rounds: int) -> tuple[list[Stack], str]:
    stacks = [Stack(name) for name in names]
    with Machine(ROOT, "bench-images", CACHE / "lab") as machine:
        say("setting the machine up")
        machine.set_up()
        for _round in range(rounds):
            from_nothing(machine, stacks)
        beside_naive(machine, stacks)
        for stack in stacks:
            with_little_to_do(machine, stack, rounds)
        return stacks, machine.engine_version()


def main(words: t.Sequence[str]) -> int:
    known = sorted(file.parent.name for file in ROOT.glob("stacks/*/stack.yml"))
    asked = options(words, known)
    started = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    if asked.naive:
        naive_alone(asked.chosen)
        return 0
    stacks, engine = measure(asked.chosen, asked.repeat)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    about = {
        "machine": describe_machine(CACHE),
        "run": {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit.stdout.strip(),
            "engine": engine,
            "rounds": asked.repeat,
            "seconds": round(time.monotonic() - started),
        },
    }
    is_whole = asked.chosen == known and asked.repeat >= REPEAT
    written = RESULTS if is_whole else CACHE / "images.json"
    written.write_text(json.dumps(results(stacks, about), indent=2) + "\n", encoding="utf-8")
    text = tables(stacks, about)
    if is_whole:
        DOCUMENT.write_text(with_block(DOCUMENT.read_text(encoding="utf-8"), text), encoding="utf-8")
    print(text)
    say(f"written: {written.relative_to(ROOT)}{' and docs/measurements.md' if is_whole else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
