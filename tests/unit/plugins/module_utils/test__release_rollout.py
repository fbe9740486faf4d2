# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import ExecCheck, HttpCheck
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollout import Busy, Job, Rollout, parse_rollout

SERVICES = {
    "api": {"lifecycle": "stateless"},
    "load": {"lifecycle": "job", "timeout": 5, "irreversible": True},
    "seed": {"lifecycle": "job"},
    "db": {"lifecycle": "stateful", "snapshot": ["dump", 1]},
}


def rollout(busy: t.Any = None, services: t.Any = None, **data: t.Any) -> Rollout:
    return parse_rollout({"rollout": data, "services": services or {}, "busy": busy})


def test_what_a_document_leaves_out_has_its_default() -> None:
    assert rollout() == rollout(strategy=None, soak=None, drain=None, busy_timeout=None) == Rollout()
    assert (Rollout().strategy, Rollout().soak, Rollout().drain, Rollout().busy_timeout) == ("recreate", 0, 30, 600)


def test_a_rollout_is_read_with_what_services_say() -> None:
    made = rollout(strategy="blue_green", soak=60, drain=0, busy_timeout=0.5, services=SERVICES)
    assert (made.strategy, made.soak, made.drain, made.busy_timeout) == ("blue_green", 60.0, 0.0, 0.5)
    assert made.jobs == {"load": Job(5.0, True), "seed": Job()}
    assert made.irreversible == ("load",)
    assert made.snapshots == {"db": ("dump", "1")}


@pytest.mark.parametrize(
    ("busy", "kind", "label"),
    [
        ({"service": "api", "http": {"port": 80, "path": "/free"}, "exec": None}, HttpCheck, "http GET :80/free"),
        ({"service": "api", "exec": {"command": ["free"]}}, ExecCheck, "exec free"),
    ],
)
def test_who_is_asked_whether_the_host_is_busy(busy: dict[str, t.Any], kind: type, label: str) -> None:
    made = rollout(busy).busy
    assert isinstance(made, Busy)
    assert isinstance(made.check, kind)
    assert (made.service, made.check.label) == ("api", label)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"strategy": "canary"}, "rollout.strategy: 'canary' is not allowed; it must be one of recreate, blue_green"),
        *(
            ({key: value}, f"rollout.{key}: {value!r} is not allowed; it must be a number of seconds, 0 or more")
            for key in ("soak", "drain", "busy_timeout")
            for value in (-1, True, "5s")
        ),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(data: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        rollout(**data)
    assert (str(caught.value), caught.value.reason) == (message, "release_invalid")


def test_a_question_that_is_none_is_refused() -> None:
    with pytest.raises(ReleaseError, match="busy") as caught:
        rollout({"service": "api", "http": {"prot": 1}})
    assert caught.value.reason == "gate_invalid"
