# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest
from ansible import constants

from ansible_collections.emorobcare.fleet.plugins.callback.summary import CallbackModule

ACTION = "emorobcare.fleet.stack_release"


class Screen:
    """Keeps what is displayed."""

    verbosity = 0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, line: str) -> None:
        self.lines.append(line)


def result(host: str, action: str = ACTION, **returned: t.Any) -> t.Any:
    """Build what Ansible hands to callbacks, as far as we look at it."""
    args = {"release": {"stack": "demo"}, "id": "0123456789abcdef"}
    return types.SimpleNamespace(
        host=types.SimpleNamespace(get_name=lambda: host),
        task=types.SimpleNamespace(action=action, args=args, check_mode=False),
        result=returned,
    )


def play(callback: CallbackModule, *events: tuple[t.Callable[[t.Any], None], t.Any]) -> None:
    callback.v2_playbook_on_start(t.cast("t.Any", None))
    for event, one in events:
        callback.v2_runner_on_start(one.host, one.task)
        event(one)
    callback.v2_playbook_on_stats(t.cast("t.Any", None))


def test_every_host_is_summed_up_when_the_run_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(seconds) for seconds in (0, 0, 10, 12.5, 13, 14, 60))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    callback = CallbackModule(display=t.cast("t.Any", screen := Screen()))
    play(
        callback,
        (callback.v2_runner_on_ok, result("robot-1", changed=True, services=[])),
        (callback.v2_runner_on_ok, result("robot-1", "ansible.builtin.debug", msg="x")),
        (callback.v2_runner_on_failed, result("robot-2", reason="locked", msg="another run is at work")),
    )
    assert screen.lines == [
        "demo 0123456789ab on robot-1: up in 2.5 s, whole run 60 s",
        "",
        "demo 0123456789ab on robot-2: FAILED after 1.0 s",
        "  reason:   locked",
        "  message:  another run is at work",
    ]


def test_nothing_is_shown_where_nothing_was_deployed() -> None:
    callback = CallbackModule(display=t.cast("t.Any", screen := Screen()))
    play(callback, (callback.v2_runner_on_ok, result("robot-1", "ansible.builtin.debug", msg="x")))
    assert screen.lines == []


@pytest.mark.parametrize(
    ("stdout_callback", "shown"),
    [
        ("json", 0),
        ("ansible.posix.json", 0),
        ("ansible.posix.jsonl", 0),
        ("default", 1),
        ("ansible.builtin.default", 1),
    ],
)
def test_output_for_programs_is_left_alone(monkeypatch: pytest.MonkeyPatch, stdout_callback: str, shown: int) -> None:
    monkeypatch.setattr(constants.config, "get_config_value", lambda _name: stdout_callback)
    callback = CallbackModule(display=t.cast("t.Any", screen := Screen()))
    play(callback, (callback.v2_runner_on_ok, result("robot-1", changed=True, services=[])))
    assert len(screen.lines) == shown


def test_the_table_of_images_comes_before_what_was_deployed() -> None:
    callback = CallbackModule(display=t.cast("t.Any", screen := Screen()))
    report = result("localhost", "emorobcare.fleet.image_report", table=["IMAGE  SIZE", "api    1 MB"], dest="/r.html")
    play(
        callback,
        (callback.v2_runner_on_ok, result("robot-1", changed=True, services=[])),
        (callback.v2_runner_on_ok, report),
    )
    assert screen.lines[:4] == ["IMAGE  SIZE", "api    1 MB", "report: /r.html", ""]
    assert len(screen.lines) > 4


def test_a_report_that_failed_shows_no_table() -> None:
    callback = CallbackModule(display=t.cast("t.Any", screen := Screen()))
    play(callback, (callback.v2_runner_on_failed, result("localhost", "image_report", msg="no room")))
    assert screen.lines == []
