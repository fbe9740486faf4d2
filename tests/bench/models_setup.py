# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Get what takes part, and say what the machine and the tools are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import typing as t
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What is not on every Debian, and the packages that have it.
PACKAGES = {"nginx": "nginx", "openssl": "openssl", "curl": "curl", "wget": "wget", "aria2c": "aria2"}
NOTHING_WITHOUT = ("nginx", "openssl", "curl")  # serves; makes the certificate; measures the limit
POLICY = Path("/usr/sbin/policy-rc.d")


def missing_commands() -> dict[str, str]:
    """Return the commands that are not there, each with what to do about it."""
    return {
        command: f"{command} is not installed (apt-get install {package})"
        for command, package in PACKAGES.items()
        if shutil.which(command, path=PATH) is None
    }


def install(say: t.Callable[[str], None]) -> dict[str, str]:
    """Install missing commands if we may; return what is missing still. Exits without what nothing can do without."""
    missing = missing_commands()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [PACKAGES[command] for command in missing]
        say(f"installing {' '.join(packages)} from the Debian archive")
        with no_services():
            for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
                environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
                subprocess.run(["apt-get", "-qq", *words], env=environment, stdin=subprocess.DEVNULL, check=False)
        missing = missing_commands()
    if vital := [missing[command] for command in NOTHING_WITHOUT if command in missing]:
        raise SystemExit(f"cannot measure: {'; '.join(vital)}")
    return missing


@contextlib.contextmanager
def no_services() -> t.Iterator[None]:
    """Keep packages from starting services (nginx has one on port 80) while they are installed."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def hub_environment(folder: Path, requirements: Path, say: t.Callable[[str], None]) -> str:
    """Make the virtual environment that huggingface_hub is in; return why there is none, or nothing."""
    stamp = folder / "stamp"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    say(f"making {folder} from {requirements.name}")
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    for argv in (
        [sys.executable, "-m", "venv", "--without-pip", str(folder)],
        [*pip, "install", "--quiet", "--require-hashes", "--requirement", str(requirements)],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            say(done.stdout + done.stderr)  # not for the results: it may name the index that this machine uses
            return "it could not be installed"
    stamp.write_text(wanted)
    return ""


def first_line(*argv: str) -> str:
    """Return the first line that a command prints, or nothing if it fails."""
    environment = {"PATH": PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return next(iter((done.stdout + done.stderr).splitlines()), "") if done.returncode == 0 else ""


def version(words: str) -> str:
    """Return the first version number in what a program says of itself."""
    found = re.search(r"\d+(\.\d+)+", words)
    return found.group() if found else words


def describe_tools(hub_python: Path) -> dict[str, str]:
    """Return the versions of all that takes part."""
    ask = "import importlib.metadata as m; print(m.version('{}'))"
    return {
        "nginx": first_line("nginx", "-v").rpartition("/")[2],
        "openssl": version(first_line("openssl", "version")),
        "curl": version(first_line("curl", "--version")),
        "wget": version(first_line("wget", "--version")),
        "aria2c": version(first_line("aria2c", "--version")),
        "sha256sum": version(first_line("sha256sum", "--version")),
        "python": platform.python_version(),
        "python's openssl": version(ssl.OPENSSL_VERSION),
        "ansible-core": first_line(sys.executable, "-c", ask.format("ansible-core")),
        "huggingface_hub": first_line(str(hub_python), "-c", ask.format("huggingface_hub")),
    }


def describe_machine(folder: Path) -> dict[str, t.Any]:
    """Return what matters of this machine: no names, no paths."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model[0] if model else platform.machine(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "file_system": first_line("findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(folder)),
    }
