# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _image_emulation
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_emulation import (
    emulation_faults,
    smallest_program,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import (
    PLATFORMS,
    machine_architecture,
)

OWN = [one for one in PLATFORMS if one.architecture == machine_architecture(platform.machine())]
ARM64 = PLATFORMS[1]

# A script stands in for a program of another processor: the kernel starts an interpreter, which may be out of reach.
PROGRAMS = [
    pytest.param(b"\x7fELF of no processor", "its kernel knows no emulator for them. Install the Debian", id="unknown"),
    pytest.param(
        b"#!/bin/sh\necho boom; exit 3\n", "ended with status 3 and said 'boom'. Install", id="an emulator fails"
    ),
]


def test_this_machine_runs_its_own_programs(tmp_path: Path) -> None:
    assert emulation_faults(OWN, str(tmp_path)) == {}
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("program", "message"), PROGRAMS)
def test_why_programs_do_not_run_is_told_with_the_way_out(
    program: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_image_emulation, "smallest_program", lambda _architecture: program)
    fault = emulation_faults([ARM64], str(tmp_path))["linux/arm64"]
    assert fault.startswith("linux/arm64 is skipped, because this host cannot run its programs: ")
    assert message in fault
    assert "on Debian 13 qemu-user-binfmt" in fault
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its root, so only root is told")
def test_an_emulator_that_containers_lack_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_image_emulation, "smallest_program", lambda _architecture: b"#!/bin/sh\nexit 0\n")
    assert "registered without the flag F" in emulation_faults([ARM64], str(tmp_path))["linux/arm64"]


def test_a_directory_from_which_nothing_may_be_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.chmod", lambda _path, _mode: None)
    fault = emulation_faults([ARM64], str(tmp_path))["linux/arm64"]
    assert f"Permission denied in {tmp_path}. Set remote_tmp" in fault


@pytest.mark.parametrize("architecture", ["amd64", "arm64", "arm"])
def test_the_program_is_an_elf_file_of_its_processor(architecture: str) -> None:
    program = smallest_program(architecture)
    machine = int.from_bytes(program[18:20], "little")
    assert (program[:4], machine) == (b"\x7fELF", {"amd64": 62, "arm64": 183, "arm": 40}[architecture])
    assert len(program) < 256
