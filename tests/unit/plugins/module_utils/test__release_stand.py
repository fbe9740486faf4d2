# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_stand as stand
from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Compose
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate, ServiceGate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import Before
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import Stage
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

STAGE = Stage("shop", None, Compose("shop", "/r", "/e", ("/r/compose.yml",)))
GATE = Gate((ServiceGate("load", "job"), ServiceGate("web")))


class Time:
    """A clock that goes on when somebody sleeps; the one on the wall says what it likes."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def time(self) -> float:
        return -1e9 if self.now > 0.5 else 1e9


class Logs:
    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        return Answer(0, "at row 7, key hunter2\n", "")


def load(status: str = "running", **more: t.Any) -> Container:
    return Container("1", "shop-load-1", service="load", status=status, **more)


def wait(monkeypatch: pytest.MonkeyPatch, limit: float, *looks: Container) -> float:
    """Wait for a job that looks so, one look after the other and the last for good; return how long it took."""
    clock, seen = Time(), list(looks)
    monkeypatch.setattr(stand, "time", clock)
    web = Container("2", "shop-web-1", service="web")
    monkeypatch.setattr(stand, "look", lambda *_args: (web, seen.pop(0) if len(seen) > 1 else seen[0]))
    site: t.Any = Site(Places("/f", "/s", "shop"), t.cast(t.Any, Logs()), False, pytest.fail)
    patience = stand._Patience(site, {"load": limit}, Masker(["hunter2"]))
    stand._wait_for_jobs(site, STAGE, GATE, Before(()), patience, Masker())
    return clock.now


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(load("exited"), id="it ended"),
        pytest.param(load("exited", exit_code=3), id="it failed: that is for the gate to say"),
        pytest.param(load("restarting", policy="always", restarts=4, exit_code=1), id="it crashes again and again"),
    ],
)
def test_a_job_is_waited_for_until_waiting_is_pointless(monkeypatch: pytest.MonkeyPatch, last: Container) -> None:
    assert wait(monkeypatch, 100.0, load("created"), load(), load(), last) == pytest.approx(0.6)


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([load()], id="it hangs"),
        pytest.param([load(), load("restarting", policy="always", restarts=1)], id="it began anew"),
    ],
)
def test_a_job_that_takes_too_long_is_told_with_its_log_whatever_the_wall_clock_says(
    monkeypatch: pytest.MonkeyPatch, looks: list[Container]
) -> None:
    with pytest.raises(ReleaseError, match="job load has not ended after 2 s; make it faster, or raise") as caught:
        wait(monkeypatch, 2.0, *looks)
    assert caught.value.reason == "job_timeout"
    assert caught.value.details["log"] == ["at row 7, key ********"]
