# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _gate_ends
from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_ends import killed_near, last_end
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import End

ID = "3b49265de022"


def record(second: float, memcg: str, text: str = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)") -> str:
    """As Linux 6 writes it."""
    return (
        f"6,1234,{int(second * 1e6)},-;{text},oom_memcg={memcg},task_memcg={memcg},task=python3,pid=6003,uid=0\n"
        " SUBSYSTEM=x\n"
    )


@pytest.mark.parametrize(
    ("records", "killed"),
    [
        pytest.param([record(60.0, f"/docker/{ID}")], True, id="cgroupfs"),
        pytest.param([record(59.0, f"/system.slice/docker-{ID}.scope")], True, id="systemd"),
        pytest.param([record(60.0, "/docker/0123456789ab")], False, id="another container"),
        pytest.param([record(20.0, f"/docker/{ID}")], False, id="another time"),
        pytest.param([record(60.0, f"/docker/{ID}", "cgroup: fork rejected")], False, id="something else"),
        pytest.param(["", "6,1,2,-;oom-kill:", "no record"], False, id="what cannot be read"),
        pytest.param(["6,1,2,-;hello", record(60.5, f"/docker/{ID}")], True, id="among others"),
    ],
)
def test_the_kernels_log_tells_whom_it_killed_and_when(records: list[str], killed: bool) -> None:
    assert killed_near(ID, 1060.2, 1000.0, records) is killed


def box(status: str, exit_code: int = 0, **more: t.Any) -> Container:
    return Container(ID, "web", status=status, exit_code=exit_code, finished_at="1970-01-01T00:01:00Z", **more)


ENDS = [
    pytest.param(box("running"), None, None, id="runs"),
    pytest.param(box("running"), End(3), End(3), id="runs again"),
    pytest.param(box("running"), End(137), End(137, True), id="runs again, the kernel had killed it"),
    pytest.param(box("exited", 137), None, End(137, True), id="ended, the kernel had killed it"),
    pytest.param(box("exited", 137, oom_killed=True), None, End(137, True), id="Docker says so"),
    pytest.param(box("exited", 1), End(1, True), End(1, True), id="Docker said so"),
    pytest.param(box("exited"), None, End(0), id="ended well"),
]


@pytest.mark.parametrize(("container", "heard", "end"), ENDS)
def test_an_end_is_known_from_whoever_tells_more(
    container: Container, heard: End | None, end: End | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gate_ends, "_boot", lambda: 0.0)
    monkeypatch.setattr(_gate_ends, "_kernel_log", lambda: [record(60.0, f"/docker/{ID}")] if end != End(3) else [])
    assert last_end(container, heard) == end


def test_a_kernels_log_that_may_not_be_read_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gate_ends, "_KERNEL_LOG", "/nothing")
    assert last_end(box("exited", 137)) == End(137)
