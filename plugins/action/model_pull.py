# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller half of emorobcare.fleet.model_pull: runs the module, and shows how far it is while that takes long.

The documentation is in plugins/modules/model_pull.py.

The module notes its progress in a file on the host, and a thread here reads that file over a connection of its own.
The other way would be to start the module as an asynchronous job and to ask for it again and again. That costs each run
that has nothing to do more than a second (two files sent, a job, a poll), leaves the module at work after an interrupt,
and has no check mode. What it would bring, that a lost connection does not end the job, is worth little here: the next
run goes on where this one stopped.
"""

from __future__ import annotations

import copy
import os
import posixpath
import secrets
import time
import typing as t

from ansible import constants as C
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._follower import (
    MOST_TURNS,
    Follower,
    Log,
    Screen,
    Terminal,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._progress import Watch, printable

MODULE = "emorobcare.fleet.model_pull"
SWITCH = "model_pull_progress"
ROOT = "/var/lib/fleet"  # as in the module, the import of which would cost more than all that is here

# Those of which it is known that they write for people and leave the screen to others in between.
FOR_PEOPLE = frozenset(
    {"counter_enabled", "debug", "default", "default_without_diff", "minimal", "tasks_only", "unixy", "yaml"}
)
# Each command of these connections is a process of its own, so that a copy of one can be used beside it.
FOLLOWED = frozenset({"local", "ssh"})

BECOME_PAUSE = 5.0  # seconds: each look as another user leaves lines in the log of the host
LOOKING = 20  # a look that takes a second is followed by this many without one: slow links are for the model

Result = dict[str, t.Any]


def terminal_width() -> int:
    """Return the columns of the terminal that standard output is; 0 where it is none."""
    try:
        return 0 if os.environ.get("TERM") == "dumb" else os.get_terminal_size(1).columns or 80
    except OSError:
        return 0


# A worker cannot tell: its standard output is closed. But the main process loads this file, before it forks workers.
COLUMNS = terminal_width()


class RemoteFile:
    """A file on the host, read as the user of the connection where that is allowed, else as the task's user."""

    def __init__(self, action: ActionBase, path: str, clock: t.Callable[[], float] = time.monotonic) -> None:
        # Made before the module runs: what a connection notes of a command that is under way must not be shared.
        connection = copy.copy(action._connection)
        connection.become = copy.copy(connection.become)
        self._action = copy.copy(action)
        self._action._connection = connection
        self._command = f"cat {connection._shell.quote(path)}"
        self._ways = (False, True) if connection.become else (False,)
        self._clock = clock
        self.pause = 0.0

    def read(self) -> str:
        """Return what is in it, nothing if it is not there."""
        started = self._clock()
        text = ""
        for way in self._ways:
            answer = self._action._low_level_execute_command(self._command, sudoable=way)
            if answer["rc"] == 0:
                self._ways, text = (way,), answer["stdout"]
                break
        self.pause = max(LOOKING * (self._clock() - started), BECOME_PAUSE if True in self._ways else 0.0)
        return text


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result = super().run(task_vars=task_vars)
        variables = task_vars or {}
        args = dict(self._task.args)
        path = self._progress_path(args) if self._is_to_show(args, variables) else ""
        if not path:
            return {**result, **self._pull(args, variables)}
        watch = Watch(self._label(args, variables))
        with Follower(RemoteFile(self, path), self._screen(variables), watch, self._display.vvv):
            return {**result, **self._pull({**args, "progress_path": path}, variables)}

    def _pull(self, args: Result, task_vars: dict[str, t.Any]) -> Result:
        return t.cast(
            "Result",
            self._execute_module(
                module_name=MODULE, module_args=args, task_vars=task_vars, wrap_async=bool(self._task.async_val)
            ),
        )

    def _is_to_show(self, args: Result, task_vars: dict[str, t.Any]) -> bool:
        task = self._task
        stdout_callback = str(C.config.get_config_value("DEFAULT_STDOUT_CALLBACK"))
        return (
            not (task.check_mode or task.async_val or task.no_log)
            and args.get("state") != "absent"
            and self._connection.transport in FOLLOWED
            and stdout_callback.rpartition(".")[2] in FOR_PEOPLE
            and (SWITCH not in task_vars or boolean(self._templar.template(task_vars[SWITCH]), strict=False))
        )

    def _progress_path(self, args: Result) -> str:
        """Return where the module is to note its progress; nothing where only the host knows which folder is meant.

        It is below the root as that belongs to the module's user: in a folder that all may write to, others could
        lay a trap for who writes to a name that they know.
        """
        if args.get("progress_path"):
            return str(args["progress_path"])
        root = str(args.get("root") or ROOT)
        if not root.startswith("/") or "$" in root:
            return ""
        return posixpath.join(root, "store", "progress", f"{secrets.token_hex(8)}.json")

    def _screen(self, task_vars: dict[str, t.Any]) -> Screen:
        # From -vvv on each look is told as well, in many lines, among which nobody would see one that is updated.
        if not COLUMNS or self._display.verbosity >= 3:
            return Log(self._display)
        hosts = list(task_vars.get("ansible_play_batch") or ())
        host = task_vars.get("inventory_hostname")
        turns = max(min(len(hosts), MOST_TURNS), 1)
        return Terminal(self._display, COLUMNS, hosts.index(host) % turns if host in hosts else 0, turns)

    def _label(self, args: Result, task_vars: dict[str, t.Any]) -> str:
        host = str(task_vars.get("inventory_hostname", ""))
        if self._task.delegate_to:
            host = f"{host} -> {self._task.delegate_to}"
        return printable(f"{host}: {args.get('name')}/{args.get('version')}")
