# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
type: aggregate
short_description: Show at the end of a run what was built and what was deployed where
version_added: 0.1.0
description:
  - Collects the results of M(emorobcare.fleet.stack_release) and shows for each host, once the run is over, a
    short table of its services (state, where to find them, model, time until ready), which colour serves, and how
    long it took; for a rollback the same. In check mode shows which services would not answer for how long.
  - For a deployment that failed, shows the reason, the check that failed, its last answer and the log's last lines.
  - Shows before them the tables of M(emorobcare.fleet.image_report), and where its pages are.
  - Shows nothing where the standard output is for programs, as with C(ANSIBLE_STDOUT_CALLBACK=ansible.posix.json).
author:
  - The emorobcare.fleet contributors (@emorobcare)
requirements:
  - Enable it in C(callbacks_enabled).
"""

import time
import typing as t

from ansible import constants
from ansible.plugins.callback import CallbackBase

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._summary import (
    Deployment,
    Outcome,
    read_wanted,
    report_lines,
    summary_lines,
)

if t.TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import CallbackTaskResult
    from ansible.inventory.host import Host
    from ansible.playbook import Playbook
    from ansible.playbook.task import Task

_ACTIONS = ("emorobcare.fleet.stack_release", "stack_release")
_REPORTS = ("emorobcare.fleet.image_report", "image_report")
_FOR_PROGRAMS = ("json", "jsonl")


class CallbackModule(CallbackBase):
    """Collect deployments; show them when the run is over."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "emorobcare.fleet.summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._began = time.monotonic()
        self._task_began: dict[str, float] = {}
        self._deployments: list[Deployment] = []
        self._reports: list[str] = []

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        self._began = time.monotonic()

    def v2_runner_on_start(self, host: Host, task: Task) -> None:
        if task.action in _ACTIONS:
            self._task_began[host.get_name()] = time.monotonic()

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._collect(result, "ok")

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._collect(result, "failed")

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        stdout_callback = str(constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK"))
        if stdout_callback.rpartition(".")[2] in _FOR_PROGRAMS:
            return
        for line in self._reports:
            self._display.display(line)
        for line in summary_lines(self._deployments, time.monotonic() - self._began):
            self._display.display(line)

    def _collect(self, result: CallbackTaskResult, outcome: Outcome) -> None:
        if result.task.action in _REPORTS and outcome == "ok":
            self._reports += report_lines(result.result)
        if result.task.action not in _ACTIONS:
            return
        host = result.host.get_name()
        seconds = time.monotonic() - self._task_began.get(host, self._began)
        wanted = read_wanted(result.task.args, bool(result.task.check_mode))
        self._deployments.append(Deployment(host, wanted, outcome, result.result, seconds))
