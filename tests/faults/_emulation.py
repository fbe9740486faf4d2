# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An emulator for arm64 programs, for as long as a test needs it, without installing anything."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_emulation import emulation_faults
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import parse_platforms

ROOT = Path(__file__).resolve().parents[2]
# Packages that may carry it, and what it is called in there. All are static, so that they need nothing of a container.
PACKAGES = ("qemu-user-static", "qemu-user")
PROGRAMS = ("usr/bin/qemu-aarch64-static", "usr/bin/qemu-aarch64")
ARM64 = "linux/arm64"

# The beginning of an ELF file for arm64, and which bits of it count: https://docs.kernel.org/admin-guide/binfmt-misc.html
_HANDLER = "fleet-test-aarch64"
_MAGIC = "7f454c460201010000000000000000000200b700"
_MASK = "ffffffffffffff00fffffffffffffffffeffffff"


def arm64_fault() -> str:
    """Return why this machine does not run arm64 programs; an empty string if it does."""
    with tempfile.TemporaryDirectory() as folder:
        return emulation_faults(parse_platforms([ARM64]), folder).get(ARM64, "")


@contextlib.contextmanager
def arm64_emulated() -> t.Iterator[None]:
    """Let this machine run arm64 programs, in containers too, and take that away again; skip where it cannot be."""
    if not arm64_fault():
        yield
        return
    if os.geteuid() != 0:
        pytest.skip("needs root to register an emulator, or a machine that has one for arm64")
    program = _emulator()
    with tempfile.TemporaryDirectory() as folder:
        # A mount of our own: where the system has one too it is the same file system, and stays.
        mounted = subprocess.run(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", folder], capture_output=True, text=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip(f"this kernel takes no emulators (binfmt_misc): {mounted.stderr.strip()}")
        try:
            with _registered(Path(folder), program):
                assert arm64_fault() == ""
                yield
        finally:
            subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def _registered(binfmt: Path, program: Path) -> t.Iterator[None]:
    """Tell the kernel of the emulator; flag F opens it now, so that containers need not hold it."""
    magic, mask = ("".join(f"\\x{byte:02x}" for byte in bytes.fromhex(text)) for text in (_MAGIC, _MASK))
    (binfmt / "register").write_text(f":{_HANDLER}:M::{magic}:{mask}:{program}:F", encoding="ascii")
    try:
        yield
    finally:
        (binfmt / _HANDLER).write_text("-1", encoding="ascii")


def _emulator() -> Path:
    """Return the emulator, out of a package that is fetched once and only unpacked."""
    emulator = ROOT / ".cache" / "qemu" / "qemu-aarch64"
    emulator.parent.mkdir(parents=True, exist_ok=True)
    said = ""
    for package in PACKAGES:
        if emulator.is_file():
            break
        with tempfile.TemporaryDirectory(dir=emulator.parent) as folder:
            said = _take_out(package, Path(folder), emulator) or said
    if not emulator.is_file():
        pytest.skip(f"no emulator for arm64 in the packages {', '.join(PACKAGES)}: {said}")
    return emulator


def _take_out(package: str, folder: Path, emulator: Path) -> str:
    """Put a package's emulator into its place, if there is one in it; return what apt said if it has no package."""
    argv = ["apt-get", "download", package]
    fetched = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.deb"))
    if fetched.returncode != 0 or not archives:
        return fetched.stderr.strip()
    subprocess.run(["dpkg-deb", "--extract", archives[0], folder], check=True)
    for program in PROGRAMS:
        if (folder / program).is_file():
            (folder / program).rename(emulator)
            break
    return ""
