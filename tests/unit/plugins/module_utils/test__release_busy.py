# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_busy as busy
from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import Question, Reply
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollout import Busy, parse_rollout
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

REQUEST = {"service": "api", "http": {"port": 8000, "path": "/free", "expect": "free"}}
WHO = t.cast(Busy, parse_rollout({"rollout": {}, "services": {}, "busy": REQUEST}).busy)
API = Container("1", "api", service="api", addresses=("10.0.0.2",))
OTHER = Container("2", "db", service="db")
FREE, BUSY = Reply(200, b'{"free": true}'), Reply(200, b'{"free": false, "with": "hunter2"}')
NONE = Reply(error="refused the connection")


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def ask(
    monkeypatch: pytest.MonkeyPatch, replies: list[Reply], timeout: float = 0.0, *containers: Container
) -> tuple[float, list[str]]:
    """Ask until the host is free; return how long that took and who was asked. The last reply stays."""
    clock, asked = Time(), t.cast("list[str]", [])

    class Probes:
        def __init__(self, *_args: t.Any) -> None:
            pass

        def ask(self, question: Question, addresses: t.Sequence[str], limit: float) -> Reply:
            asked.append(f"{question.container.name} {question.label} {','.join(addresses)}")
            return replies.pop(0) if len(replies) > 1 else replies[0]

    monkeypatch.setattr(busy, "EngineProbes", Probes)
    monkeypatch.setattr(busy, "time", clock)
    busy.wait_until_free(t.cast(t.Any, None), WHO, lambda: containers, timeout, Masker(["hunter2"]))
    return clock.now, asked


def test_a_host_that_says_that_it_is_free_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, [FREE], 9.0, API, OTHER) == (0.0, ["api http GET :8000/free 10.0.0.2"])


def test_where_nothing_runs_nobody_is_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, [NONE]) == (0.0, [])


def test_a_busy_host_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, [BUSY, NONE, FREE], 9.0, API)[0] == 2.0


def test_every_container_of_the_service_must_be_free(monkeypatch: pytest.MonkeyPatch) -> None:
    second = Container("3", "api-2", service="api")
    assert len(ask(monkeypatch, [FREE, BUSY, FREE, FREE], 9.0, API, second)[1]) == 4


REFUSALS = [
    pytest.param([BUSY], 2.5, (API,), 'gave false, not true: {"free": false, "with": "********"}', id="it says so"),
    pytest.param([NONE], 0.0, (API,), "refused the connection", id="no answer"),
    pytest.param([FREE], 0.0, (OTHER,), "no answer: it has no container", id="nobody to answer"),
    pytest.param(
        [FREE],
        1.0,
        (Container("1", "api", service="api", status="exited"), OTHER),
        "no answer: its container is exited",
        id="who could answer does not run",
    ),
]


@pytest.mark.parametrize(("replies", "timeout", "containers", "answer"), REFUSALS)
def test_one_that_stays_busy_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
    replies: list[Reply],
    timeout: float,
    containers: tuple[Container, ...],
    answer: str,
) -> None:
    with pytest.raises(ReleaseError, match="this host is busy: service api said") as caught:
        ask(monkeypatch, replies, timeout, *containers)
    assert (caught.value.reason, caught.value.details["service"]) == ("busy", "api")
    assert answer in caught.value.details["answer"]
    assert "override=busy. Nothing was touched" in str(caught.value)
