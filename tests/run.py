# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the project's checks in two lanes side by side and count them: `run.py test`.

What needs a Docker engine is mostly waiting, so that a processor each keeps two lanes busy. An engine is started where
none runs, before both, and stopped again after both. Each check's output is kept in tests/output/<check>.log; that of a
failed one is printed. The last line is `N passed, N failed`, with `, N skipped` where there are any, and the exit
status says the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "tests" / "output"
BIN = ROOT / ".venv" / "bin"
SANITY = ROOT / ".cache" / "sanity"
TREE = SANITY / "ansible_collections" / "emorobcare" / "fleet"  # a copy of what git would commit
PLUGINS = "ansible_collections.emorobcare.fleet.plugins"
NOT_PACKAGED = ("collections/",)
# Where `import ansible_collections.emorobcare.fleet…` and the stacks' services are found.
MYPYPATH = os.pathsep.join(
    str(folder)
    for folder in [
        ROOT / "collections",
        *(main.parent.parent for main in sorted(ROOT.glob("stacks/*/images/*/*/__main__.py"))),
    ]
)


@dataclass(frozen=True)
class Count:
    """What a check found: one by itself, or as many as it counted."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


Counter = t.Callable[[str, int], Count]


def one(_output: str, status: int) -> Count:
    """A check that is one test."""
    return Count(passed=1) if status == 0 else Count(failed=1)


def junit(name: str) -> Counter:
    """A pytest run, counted by its report; a run that collected or reported nothing has failed."""

    def count(_output: str, status: int) -> Count:
        report = OUTPUT / f"{name}.xml"
        if not report.exists():
            return Count(failed=1)
        suites = ElementTree.parse(report).getroot().iter("testsuite")
        total = Count()
        for suite in suites:
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped = int(suite.get("skipped", 0))
            total += Count(int(suite.get("tests", 0)) - bad - skipped, bad, skipped)
        return total + Count(failed=1) if status != 0 and total.failed == 0 else total

    return count


def sanity_tests(output: str, status: int) -> Count:
    """ansible-test names each sanity test that it runs, and lists those that failed."""
    ran = len(set(re.findall(r'^Running sanity test "([\w-]+)"', output, re.MULTILINE)))
    listed = re.search(r"The (\d+) sanity test\(s\) listed below \(out of \d+\) failed", output)
    failed = int(listed.group(1)) if listed else int(status != 0)
    skipped = len(re.findall(r'^WARNING: Required program "[\w-]+" not found', output, re.MULTILINE))
    return Count(max(ran - failed - skipped, 0), failed, skipped) if ran else Count(failed=1)


def molecule_actions(output: str, status: int) -> Count:
    """Molecule reports each action of each scenario."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    passed = len(re.findall(r"^INFO .*Executed: Successful", plain, re.MULTILINE))
    # A scenario ends at its first failure.
    return Count(passed, int(status != 0)) if passed else Count(failed=1)


@dataclass(frozen=True)
class Check:
    name: str
    argv: list[str]
    count: Counter = one
    cwd: Path = ROOT
    env: dict[str, str] = field(default_factory=dict)


def pytest(name: str, *paths: str) -> Check:
    argv = [f"{BIN}/pytest", "-q", f"--junitxml={OUTPUT}/{name}.xml", *paths]
    return Check(name, argv, junit(name))


def packages(name: str, command: str, *wanted: str) -> Check:
    """Debian packages that this machine gets unless it has the command."""
    variables = json.dumps({"packages": wanted, "command": command})
    return Check(name, [f"{BIN}/ansible-playbook", "tests/lab/packages.yml", "-i", "localhost,", "-e", variables])


def lay_out_tree() -> None:
    """Copy the collection to where its tools want it: ansible_collections/<namespace>/<name>, a repository of its own.

    ansible-test makes virtual environments without pip, which it then wants to fetch from the web: a script in its
    cache that takes the pip of ours serves as well.
    """
    shutil.rmtree(TREE, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, copy = ROOT / name, TREE / name
        if source.exists() and not name.startswith(NOT_PACKAGED):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    subprocess.run(["git", "init", "--quiet", "."], cwd=TREE, check=True)
    subprocess.run(["git", "add", "--all"], cwd=TREE, check=True)
    cache = SANITY / "home" / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "get_pip_25_2.py").write_text(
        "import subprocess, sys\n"
        f"pip = [{str(BIN / 'python')!r}, '-m', 'pip', '--python', sys.executable, '--disable-pip-version-check']\n"
        "subprocess.check_call([*pip, 'install', '--quiet', 'pip==25.2'])\n"
    )


LINT = [
    Check("ruff", [f"{BIN}/ruff", "check", "."]),
    Check("ruff-format", [f"{BIN}/ruff", "format", "--check", "."]),
    Check("yamllint", [f"{BIN}/yamllint", "--strict", "."]),
    Check("mypy", [f"{BIN}/mypy", "--package", PLUGINS], env={"MYPYPATH": MYPYPATH}),
    Check("mypy-tests", [f"{BIN}/mypy", "tests"], env={"MYPYPATH": MYPYPATH}),
    Check("changelog", [f"{BIN}/antsibull-changelog", "lint"]),
    Check(
        "docs",
        [f"{BIN}/antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=self", "."],
        cwd=TREE,  # from the checkout it would read the documentation of every collection there is
        env={"ANSIBLE_CONFIG": str(TREE / "ansible.cfg")},
    ),
    Check("ansible-lint", [f"{BIN}/ansible-lint", "--strict"]),
]
UNIT = [pytest("unit", "tests/unit")]
SANITY_TESTS = [
    packages("shellcheck", "shellcheck", "shellcheck"),
    Check(
        "sanity",
        [f"{BIN}/ansible-test", "sanity", "--venv", "--python", f"{sys.version_info[0]}.{sys.version_info[1]}"],
        sanity_tests,
        cwd=TREE,
        env={"HOME": str(SANITY / "home")},
    ),
]
BROWSER = [
    packages("chromium", "chromedriver", "chromium", "chromium-driver", "fonts-dejavu-core"),
    pytest("browser", "tests/browser"),
]
FAULTS = [pytest("faults", "tests/faults")]
STACKS = [pytest("stacks", "tests/stacks")]
# One of them is 30 releases in a row: longer than a test may take that hangs.
SLOW = [pytest("slow", "-m", "slow", "-o", "faulthandler_timeout=1800", "tests/faults")]
MOLECULE = [
    Check(
        "molecule",
        [f"{BIN}/molecule", "test", "--all"],
        molecule_actions,
        env={"MOLECULE_GLOB": "molecule/*/molecule.yml", "ANSIBLE_HOME": str(ROOT / ".ansible")},
    )
]

# What a word on the command line runs: two lanes. What is in the second one needs an engine, and wherever there is a
# second one the first may use the engine too.
PLANS: dict[str, tuple[list[Check], list[Check]]] = {
    "lint": (LINT, []),
    "unit": (UNIT, []),
    "check": ([*LINT, *UNIT], []),
    "sanity": (SANITY_TESTS, []),
    "browser": ([], BROWSER),
    "faults": ([], FAULTS),
    "stacks": ([], STACKS),
    "molecule": ([], MOLECULE),
    "slow": ([], SLOW),
    "test": ([*LINT, *UNIT, *SANITY_TESTS, *STACKS, *MOLECULE], [*BROWSER, *FAULTS]),
    "test-all": ([*LINT, *UNIT, *SANITY_TESTS, *STACKS, *MOLECULE], [*BROWSER, *FAULTS, *SLOW]),
}


class Report:
    """Prints what the lanes say, one check at a time, and adds up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = Count()

    def add(self, check: Check, count: Count, output: str, seconds: float) -> None:
        with self._lock:
            self.total += count
            verdict = "FAILED" if count.failed else "passed"
            print(f"{check.name:<14} {verdict}  {seconds:6.1f} s  {count}", flush=True)
            if count.failed:
                print(f"--- the end of tests/output/{check.name}.log", flush=True)
                print("\n".join(output.splitlines()[-120:]), flush=True)
                print(f"--- {check.name}", flush=True)


def run_check(check: Check, report: Report) -> None:
    started = time.monotonic()
    log = OUTPUT / f"{check.name}.log"
    with log.open("w", encoding="utf-8") as sink:
        status = subprocess.run(
            check.argv,
            cwd=check.cwd,
            env=environment(check.env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    output = log.read_text(encoding="utf-8", errors="replace")
    report.add(check, check.count(output, status), output, time.monotonic() - started)


def environment(more: dict[str, str]) -> dict[str, str]:
    """Ours, with the virtual environment first, and no setting of the caller's Ansible."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    path = f"{BIN}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **more}


def run_lane(checks: list[Check], report: Report) -> None:
    for check in checks:
        try:
            run_check(check, report)
        except Exception as exc:  # a lane that ends early must be counted, or its missing checks would look passed
            report.add(check, Count(failed=1), repr(exc), 0.0)


def engine_runs() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def engine(state: str) -> Check:
    return Check(
        f"engine-{state}",
        [f"{BIN}/ansible-playbook", "tests/lab/engine.yml", "-i", "inventories/dev", "-e", f"engine_state={state}"],
    )


def run_plan(first: list[Check], second: list[Check]) -> Count:
    report = Report()
    ours = bool(second) and not engine_runs()
    if second:
        run_lane([engine("started")], report)
    lane = threading.Thread(target=run_lane, args=(first, report))
    lane.start()
    try:
        run_lane(second, report)
    finally:
        lane.join()
        if ours:
            run_lane([engine("stopped")], report)
    return report.total


def main(words: list[str]) -> int:
    if len(words) != 1 or words[0] not in PLANS:
        print(f"usage: run.py {' | '.join(PLANS)}", file=sys.stderr)
        return 2
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for old in [*OUTPUT.glob("*.xml"), *OUTPUT.glob("*.log")]:
        old.unlink()
    lay_out_tree()
    total = run_plan(*PLANS[words[0]])
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
