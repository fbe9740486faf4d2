# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An emulator for programs of ARM, for as long as a test needs it, without installing anything."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_emulation import emulation_faults
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import parse_platforms

ROOT = Path(__file__).resolve().parents[2]
# Packages that may carry them. All are static, so that they need nothing of a container.
PACKAGES = ("qemu-user-static", "qemu-user")
ARM64, ARM_V7 = "linux/arm64", "linux/arm/v7"


class Emulator(t.NamedTuple):
    """What qemu calls the machine, and by which bits the kernel knows its programs: how their ELF header begins.

    https://docs.kernel.org/admin-guide/binfmt-misc.html
    """

    machine: str
    magic: str
    mask: str


EMULATORS = {
    ARM64: Emulator("aarch64", "7f454c460201010000000000000000000200b700", "ffffffffffffff00fffffffffffffffffeffffff"),
    ARM_V7: Emulator("arm", "7f454c4601010100000000000000000002002800", "ffffffffffffff00fffffffffffffffffeffffff"),
}


def fault_of(platform: str) -> str:
    """Return why this machine does not run a platform's programs; an empty string if it does."""
    with tempfile.TemporaryDirectory() as folder:
        return emulation_faults(parse_platforms([platform]), folder).get(platform, "")


@contextlib.contextmanager
def emulated(platform: str) -> t.Iterator[None]:
    """Let this machine run a platform's programs, in containers too, and take that away again; skip where it cannot."""
    if not fault_of(platform):
        yield
        return
    if os.geteuid() != 0:
        pytest.skip(f"needs root to register an emulator, or a machine that has one for {platform}")
    emulator = EMULATORS[platform]
    program = _program(emulator)
    with tempfile.TemporaryDirectory() as folder:
        # A mount of our own: where the system has one too it is the same file system, and stays.
        mounted = subprocess.run(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", folder], capture_output=True, text=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip(f"this kernel takes no emulators (binfmt_misc): {mounted.stderr.strip()}")
        try:
            with _registered(Path(folder), emulator, program):
                assert fault_of(platform) == ""
                yield
        finally:
            subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def _registered(binfmt: Path, emulator: Emulator, program: Path) -> t.Iterator[None]:
    """Tell the kernel of the emulator; flag F opens it now, so that containers need not hold it."""
    handler = f"fleet-test-{emulator.machine}"
    magic, mask = (re.sub("..", r"\\x\g<0>", digits) for digits in (emulator.magic, emulator.mask))
    (binfmt / "register").write_text(f":{handler}:M::{magic}:{mask}:{program}:F", encoding="ascii")
    try:
        yield
    finally:
        (binfmt / handler).write_text("-1", encoding="ascii")


def _program(emulator: Emulator) -> Path:
    """Return the emulator's program, out of a package that is fetched once and only unpacked."""
    program = ROOT / ".cache" / "qemu" / f"qemu-{emulator.machine}"
    program.parent.mkdir(parents=True, exist_ok=True)
    said = ""
    for package in PACKAGES:
        if program.is_file():
            break
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            said = _take_out(package, Path(folder), program) or said
    if not program.is_file():
        pytest.skip(f"no {program.name} in the packages {', '.join(PACKAGES)}: {said}")
    return program


def _take_out(package: str, folder: Path, program: Path) -> str:
    """Put a package's emulator into its place, if there is one in it; return what apt said if it has no package."""
    argv = ["apt-get", "download", package]
    fetched = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.deb"))
    if fetched.returncode != 0 or not archives:
        return fetched.stderr.strip()
    subprocess.run(["dpkg-deb", "--extract", archives[0], folder], check=True)
    for found in (folder / "usr" / "bin" / f"{program.name}{static}" for static in ("-static", "")):
        if found.is_file():
            found.rename(program)
            break
    return ""
