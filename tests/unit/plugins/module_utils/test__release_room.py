# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_room as room
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

MEMINFO = "MemTotal:       8000 kB\nMemFree:         100 kB\nMemAvailable:   1024 kB\n"
MIB = 2**20


def resources(**memory: str) -> dict[str, t.Any]:
    return {"deploy": {"resources": {kind: {"memory": size} for kind, size in memory.items()}}}


@pytest.mark.parametrize(
    ("service", "needed"),
    [
        pytest.param({}, 0, id="nothing is said"),
        pytest.param(resources(limits="100"), 100, id="limit"),
        pytest.param(resources(limits="100", reservations="30"), 30, id="reservation before limit"),
        pytest.param({"mem_limit": "50"}, 50, id="old way to say it"),
        pytest.param({"mem_limit": "50", "mem_reservation": 20}, 20, id="old way to reserve"),
        pytest.param({**resources(limits="100"), "mem_limit": "50"}, 100, id="both ways"),
        pytest.param({"mem_limit": "50", "scale": 3}, 150, id="scale"),
        pytest.param({"mem_limit": "50", "deploy": {"replicas": 2}}, 100, id="replicas"),
        pytest.param({"mem_limit": "50", "deploy": {"replicas": 0}}, 0, id="no replicas"),
        pytest.param({"deploy": {"resources": {"limits": None}}}, 0, id="an empty key"),
    ],
)
def test_a_service_needs_what_it_reserves_or_else_its_limit(service: dict[str, t.Any], needed: int) -> None:
    assert room.needed_memory({"api": service}) == {"api": needed}


@pytest.mark.parametrize(("text", "bytes_"), [(MEMINFO, MIB), ("MemFree: 100 kB\n", None), ("", None)])
def test_what_the_kernel_would_give_is_read(text: str, bytes_: int | None) -> None:
    assert room.available_memory(text) == bytes_


def test_the_kernels_own_figures_are_read_and_their_absence_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert room.available_memory(room.read_meminfo())
    monkeypatch.setattr(room, "MEMINFO", "/nothing")
    assert room.read_meminfo() == ""


def test_a_side_that_does_not_fit_is_refused_with_figures_and_ways_out() -> None:
    services = {"small": {"mem_limit": MIB // 4}, "api": {"mem_limit": MIB}, "free": {}}
    with pytest.raises(ReleaseError) as caught:
        room.refuse_memory(services, MEMINFO)
    assert caught.value.reason == "no_memory"
    assert str(caught.value).startswith(
        "the new side wants 1.3 MB of memory beside the old one (api 1.0 MB, small 262.1 kB, free 0 B), and 1.0 MB "
        "are available. Lower the limits"
    )
    assert "override=memory. Nothing was touched" in str(caught.value)


@pytest.mark.parametrize(
    ("services", "text"),
    [
        pytest.param({"api": {"mem_limit": MIB}}, MEMINFO, id="just so"),
        pytest.param({"api": {"mem_limit": 2 * MIB}}, "", id="nobody knows"),
        pytest.param({}, MEMINFO, id="nothing wanted"),
    ],
)
def test_a_side_that_fits_passes(services: dict[str, t.Any], text: str) -> None:
    room.refuse_memory(services, text)


class Disk(t.NamedTuple):
    f_frsize: int = 4096
    f_bavail: int = 10
    f_files: int = 100
    f_favail: int = 50


@pytest.mark.parametrize(
    ("disk", "refused"),
    [
        pytest.param(Disk(), False, id="just enough"),
        pytest.param(Disk(f_bavail=9), True, id="too full"),
        pytest.param(Disk(f_favail=0), True, id="no inodes"),
        pytest.param(Disk(f_files=0, f_favail=0), False, id="a file system that counts no inodes"),
    ],
)
def test_a_disk_that_is_nearly_full_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, disk: Disk, refused: bool
) -> None:
    asked: list[str] = []

    def statvfs(folder: str) -> Disk:
        asked.append(folder)
        return disk

    monkeypatch.setattr(os, "statvfs", statvfs)
    folder = str(tmp_path / "not" / "there" / "yet")
    if refused:
        with pytest.raises(
            ReleaseError, match=rf"{tmp_path} has .* inodes left, and a deployment needs 41.0 kB"
        ) as caught:
            room.refuse_disk(folder, 40960)
        assert caught.value.reason == "no_space"
    else:
        room.refuse_disk(folder, 40960)
    assert asked == [str(tmp_path)]
