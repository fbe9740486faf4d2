# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Find out whether the programs of a foreign platform run on this host, by running one.

Programs of another processor run where the kernel was told (binfmt_misc) which emulator to start for them. The list of
what it was told is a file system that is not mounted everywhere, with names that distributions choose, and some
processors run their older siblings' programs without any of it. So a program of a few bytes is run that does nothing
but end well, as BuildKit does too: that says the truth on any host, with any kernel and any emulator.
"""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import Platform
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start

_PROGRAM = "program"
_PLACE = 0x400000  # in memory; a multiple of every processor's page size
_INSTALL = (
    "Install the Debian packages qemu-user-static and binfmt-support (on Debian 13 qemu-user-binfmt) and run again"
)


@dataclass(frozen=True)
class _Machine:
    """What an ELF file says of its processor (word size in bits, number, flags), and code that does exit(0)."""

    bits: int
    number: int
    flags: int
    code: bytes


# By OCI architecture; numbers from elf(5) and syscall(2).
_MACHINES = {
    "amd64": _Machine(64, 62, 0, bytes.fromhex("31ff b83c000000 0f05")),  # xor edi, edi; mov eax, 60; syscall
    "arm64": _Machine(64, 183, 0, bytes.fromhex("000080d2 a80b80d2 010000d4")),  # mov x0, 0; mov x8, 93; svc 0
    "arm": _Machine(32, 40, 0x5000400, bytes.fromhex("0000a0e3 0170a0e3 000000ef")),  # mov r0, 0; mov r7, 1; svc 0
}


def emulation_faults(platforms: t.Iterable[Platform], tmpdir: str) -> dict[str, str]:
    """Return why a platform is skipped and the way out, by the names of those whose programs this host does not run."""
    faults = {platform.name: _fault(platform, tmpdir) for platform in platforms}
    return {
        name: f"{name} is skipped, because this host cannot run its programs: {fault}"
        for name, fault in faults.items()
        if fault
    }


def _fault(platform: Platform, tmpdir: str) -> str:
    with tempfile.TemporaryDirectory(prefix="image-emulation-", dir=tmpdir) as folder:
        path = os.path.join(folder, _PROGRAM)
        with open(path, "wb") as file:
            file.write(smallest_program(platform.architecture))
        os.chmod(path, 0o755)
        try:
            status, said = _run([path])
        except OSError as exc:
            if exc.errno == errno.ENOEXEC:
                return f"its kernel knows no emulator for them. {_INSTALL}"
            return f"{exc.strerror} in {tmpdir}. Set remote_tmp to a directory on a disk from which programs may be run"
        if status != 0:
            return f"one that does nothing ended with status {status} and said {said!r}. {_INSTALL}"
        # An emulator that the kernel looks for by its path (without the flag F) is not there in a container. Only root
        # can try that, and only root makes bases; for others a build says it.
        if os.geteuid() == 0 and _run(["chroot", folder, f"/{_PROGRAM}"])[0] != 0:
            return f"containers lack their emulator, which was registered without the flag F. {_INSTALL}"
    return ""


def _run(argv: list[str]) -> tuple[int, str]:
    process = start(argv, {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}, stderr=subprocess.STDOUT)
    said, _nothing = process.communicate()
    return process.returncode, said.decode(errors="replace").strip()


def smallest_program(architecture: str) -> bytes:
    """Return a static ELF program that does nothing but exit(0): a header, one segment that is the file, the code."""
    machine = _MACHINES[architecture]
    wide = machine.bits == 64
    head, segment = (64, 56) if wide else (52, 32)
    size = head + segment + len(machine.code)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    header = struct.pack(
        "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH",
        *(2, machine.number, 1, _PLACE + head + segment, head, 0, machine.flags, head, segment, 1, 0, 0, 0),
    )
    loaded, readable_and_executable, page = 1, 5, 0x10000
    if wide:
        load = struct.pack("<IIQQQQQQ", loaded, readable_and_executable, 0, _PLACE, _PLACE, size, size, page)
    else:
        load = struct.pack("<IIIIIIII", loaded, 0, _PLACE, _PLACE, size, size, readable_and_executable, page)
    return ident + header + load + machine.code
