# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Stream, not_installed
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollout import Rollout
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_snapshot import take_snapshots
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

ROLLOUT = Rollout(snapshots={"db": ("dump", "--all"), "cache": ("save",)})
DB, CACHE = Container("1", "db", service="db"), Container("2", "cache", service="cache")
API = Container("3", "api", service="api")

FINE = Answer(0, "", "")


class Engine:
    def __init__(self, answer: Answer = FINE) -> None:
        self.answer = answer
        self.said: list[str] = []

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        self.said.append(" ".join(argv))
        return self.answer

    def watch(self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = 0.5) -> Answer:
        raise AssertionError(argv)

    def stream(self, argv: t.Sequence[str]) -> Stream:
        raise not_installed()


@pytest.mark.parametrize(
    ("containers", "services", "said"),
    [
        pytest.param((DB, CACHE, API), ["db"], ["1 dump --all"], id="one"),
        pytest.param((DB, CACHE, API), ["db", "cache"], ["1 dump --all", "2 save"], id="both"),
        pytest.param((DB,), [], [], id="none is to"),
        pytest.param((Container("1", "db", service="db", status="exited"),), ["db"], [], id="it does not run"),
        pytest.param((), ["db"], [], id="it is not there yet"),
        pytest.param((API,), ["api"], [], id="it has nothing to save with"),
    ],
)
def test_services_save_what_they_hold_in_their_own_containers(
    containers: tuple[Container, ...], services: list[str], said: list[str]
) -> None:
    engine = Engine()
    taken = take_snapshots(engine, containers, ROLLOUT, services, Masker())
    assert engine.said == [f"docker container exec -- {one}" for one in said]
    assert len(taken) == len(said)
    assert set(taken) <= set(services)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(3, "table 1\n", "no room for hunter2\n"), "table 1; no room for ********"),
        (Answer(126, "", ""), "nothing"),
    ],
)
def test_one_that_cannot_save_is_named_with_what_it_said(answer: Answer, said: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        take_snapshots(Engine(answer), [DB, CACHE], ROLLOUT, ["db", "cache"], Masker(["hunter2"]))
    assert (caught.value.reason, caught.value.details["service"]) == ("snapshot_failed", "db")
    assert f"failed with exit code {answer.code} and said: {said}. Mend" in str(caught.value)
