#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_change
short_description: Change files of a host so that its containers still work afterwards, or not at all
version_added: 0.1.0
description:
  - Writes, removes and re-owns files as one change with a name, runs the commands that make them count, and asks before
    and after what containers can do. When something worked before and does not any more, a command fails, or the task
    is cut off by a signal, the connection, C(kill -9) or the power, the whole change is taken back.
  - When the files are already as they are to be, nothing is asked, written or run.
  - What the files held before the first change of that name is kept on the host, and O(state=absent) gives it back.
  - A guard, a process of its own that systemd runs where it is, takes the change back at once if the task dies. A boot
    takes it back before anything reads the files, where the host boots with systemd; elsewhere the next run does.
  - One change is made at a time. Another run waits for a moment and is then refused.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
  - emorobcare.fleet._probes
attributes:
  check_mode:
    support: full
    details:
      - The checkers of O(files[].validate) run; one that is not installed yet is passed over. No probe and no other
        command runs.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the change. It owns its files. One that an earlier change of that name had, and that is not named any
        more, is given back. So no two tasks share a name.
    type: str
    required: true
  state:
    description:
      - V(present) makes the change.
      - V(absent) gives the files back that it found, and probes as V(present) does. A file that somebody has edited
        since is left to them, see RV(kept).
      - V(confirmed) lets a change stay that waits for it, see O(confirm). It fails when the change was taken back, and
        changes nothing when nothing waits.
    type: str
    choices:
      - present
      - absent
      - confirmed
    default: present
  files:
    description: The files, for O(state=present).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Absolute path. A link is left alone, and the task fails. Folders above it that are not there are made, and
            go with the change.
        type: path
        required: true
      content:
        description:
          - What is to be in it. Without it, mode and owner alone are set, of a file, a folder or a socket. Where
            nothing is, nothing is done.
        type: str
      mode:
        description: Its mode, as V(0644) in quotes. By itself it stays as it is, and that of a new file is V(0644).
        type: raw
      owner:
        description: Its owner, by name or number. By itself it stays as it is.
        type: str
      group:
        description: Its group, by name or number. By itself it stays as it is.
        type: str
      state:
        description: Whether it is to be there.
        type: str
        choices:
          - present
          - absent
        default: present
      validate:
        description:
          - A command that must end with exit code 0 before anything is replaced. C(%s) in its words is a file with the
            content, which has the name that the file will have, in another folder.
          - What can only be checked in its place, as a part of a whole, is for the first command of O(activate)
            (C([sshd, -t]), say). When it fails, all is taken back before anything has read the files.
        type: list
        elements: str
        default: []
      diff:
        description: Whether its content may be shown. With V(false) it is neither in the result nor in a message.
        type: bool
        default: true
  activate:
    description:
      - Commands that make the files count, each a list of words, run in this order without a shell. They run after the
        files were written, and after they were given back.
      - A service that has failed several times is started again only after C(systemctl reset-failed).
      - Each has 300 seconds, or O(confirm) seconds if that is less. On the way back they are tried three times, unless
        one ends with exit code 83, which says that another try would do no better.
    type: list
    elements: list
    default: []
  deactivate:
    description:
      - Commands to run instead when the files are given back altogether, with O(state=absent) or because the first
        change of that name failed, where those of O(activate) do not serve (to remove a firewall's table that a file
        had loaded, say).
      - With O(state=absent), both lists are those of the last change unless they are given.
    type: list
    elements: list
    default: []
  confirm:
    description:
      - For what may cut the operator off. The change is taken back by itself unless a task with O(state=confirmed)
        comes within so many seconds, over a connection other than the one that the change was made over. The task
        C(reset_connection) of M(ansible.builtin.meta) between the two sees to that.
      - V(0) if the change need not be confirmed.
    type: int
    default: 0
  folder:
    description: Where the host remembers its changes.
    type: path
    default: /var/lib/fleet/host
  lock_timeout:
    description: Seconds to wait for another change of this host.
    type: float
    default: 10
notes:
  - The probe of the published port asks from the host itself. What drops only what comes from other machines is not
    noticed by it.
seealso:
  - module: emorobcare.fleet.docker_host_probe
"""

EXAMPLES = r"""
- name: Keep the kernel from taking routes that others send
  emorobcare.fleet.host_change:
    name: sysctl
    files:
      - path: /etc/sysctl.d/60-fleet.conf
        content: |
          net.ipv4.conf.all.accept_redirects = 0
    activate:
      - [sysctl, --system]
    probes:
      dns: example.com
      outbound: example.com:443

- name: Restrict what may come in, and be taken back unless we can still come in ourselves
  emorobcare.fleet.host_change:
    name: firewall
    files:
      - path: /etc/fleet/firewall.nft
        content: "{{ lookup('ansible.builtin.template', 'firewall.nft.j2') }}"
        mode: "0600"
        validate: [nft, --check, --file, "%s"]
    activate:
      - [nft, --file, /etc/fleet/firewall.nft]
    deactivate:
      - [nft, delete, table, inet, fleet]
    confirm: 60

- name: Come in anew
  ansible.builtin.meta: reset_connection

- name: Let the firewall stay
  emorobcare.fleet.host_change:
    name: firewall
    state: confirmed

- name: Give the host back what it had
  emorobcare.fleet.host_change:
    name: sysctl
    state: absent
"""

RETURN = r"""
files:
  description: The paths that hold something else now, or would; on failure those that were given back.
  type: list
  elements: str
  returned: success, and when a change was taken back
  sample: [/etc/sysctl.d/60-fleet.conf]
probes:
  description:
    - What each probe found (C(status), V(pass), V(fail) or V(not applicable), and C(detail)) C(before) and C(after) the
      change, and C(again) after it was taken back. Each is V(none) when it was not asked.
  type: dict
  returned: success, and when a change was taken back
  sample:
    before: {dns: {status: pass, detail: example.com is 192.0.2.80}}
    after: {dns: {status: pass, detail: example.com is 192.0.2.80}}
reverted:
  description: Whether the change was made and then taken back.
  type: bool
  returned: always
kept:
  description: Files that were not given back, as somebody has edited them since; C(path) and C(why).
  type: list
  elements: dict
  returned: success
  sample: [{path: /etc/sysctl.d/60-fleet.conf, why: somebody has changed its content since}]
recovered:
  description: What became of changes that were cut off before this task, a sentence each.
  type: list
  elements: str
  returned: success
waits:
  description: Seconds in which the change must be confirmed, V(0) when it stays.
  type: int
  returned: success
reason:
  description: "Why it failed: V(invalid), V(unsafe_path), V(locked), V(unconfirmed), V(same_connection),
    V(validate_failed), V(write_failed), V(activate_failed), V(probe_failed), V(interrupted), V(guard_failed),
    V(restore_failed), V(record_lost) or V(record_newer)."
  type: str
  returned: failure
  sample: probe_failed
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import (
    Change,
    Commands,
    FileWanted,
    Outcome,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_run import confirm, transact
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import as_result
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_container import PROBING, read_asked
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_run import asking

_COMMANDS: dict[str, t.Any] = {"type": "list", "elements": "list", "default": []}

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    **PROBING,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "confirmed"], "default": "present"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        # For the system's log. There, contents of several lines are not known again when they alone are marked.
        "no_log": True,
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str"},
            "mode": {"type": "raw"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "validate": {"type": "list", "elements": "str", "default": []},
            "diff": {"type": "bool", "default": True},
        },
    },
    "activate": _COMMANDS,
    "deactivate": _COMMANDS,
    "confirm": {"type": "int", "default": 0},
    "folder": {"type": "path", "default": "/var/lib/fleet/host"},
    "lock_timeout": {"type": "float", "default": 10},
}


def read_mode(mode: t.Any, where: str) -> int | None:
    """Return a mode; text is octal, a number is what YAML has made of an octal one.

    :raises HostError: it is no mode.
    """
    if mode is None or (isinstance(mode, int) and not isinstance(mode, bool)):
        return mode
    try:
        return int(str(mode), 8)
    except ValueError:
        raise HostError(f'{where}.mode: {mode!r} is no file mode; use "0644", for example', reason="invalid") from None


def read_files(files: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[FileWanted, ...]:
    return tuple(
        FileWanted(
            path=one["path"],
            content=one["content"],
            mode=read_mode(one["mode"], f"files[{number}]"),
            owner=one["owner"],
            group=one["group"],
            state=one["state"],
            validate=tuple(one["validate"]),
            diff=one["diff"],
        )
        for number, one in enumerate(files)
    )


def read_commands(commands: t.Iterable[t.Iterable[t.Any]]) -> Commands:
    return tuple(tuple(str(word) for word in argv) for argv in commands)


def read_change(params: t.Mapping[str, t.Any]) -> Change:
    """Read the task.

    :raises HostError: a mode is none.
    """
    return Change(
        name=params["name"],
        files=read_files(params["files"]),
        activate=read_commands(params["activate"]),
        deactivate=read_commands(params["deactivate"]),
        state=params["state"],
        confirm=params["confirm"],
    )


def carry_out(params: t.Mapping[str, t.Any], check: bool) -> Outcome:
    """Do what the task says, or tell what that would do.

    :raises HostError: it is refused, or was taken back.
    """
    where = {"folder": params["folder"], "check": check, "lock_timeout": params["lock_timeout"]}
    if params["state"] == "confirmed":
        return confirm(params["name"], **where)
    asked = read_asked(params["probes"])
    probe = asking(asked) if params["probe"] else None
    return transact(read_change(params), probe=probe, settle=params["probes"]["settle"], **where)


def report(outcome: Outcome) -> dict[str, t.Any]:
    return {
        "changed": outcome.changed,
        "files": list(outcome.files),
        "probes": {"before": as_result(outcome.before), "after": as_result(outcome.after)},
        "reverted": False,
        "kept": [{"path": one.path, "why": one.why} for one in outcome.left],
        "recovered": list(outcome.recovered),
        "waits": outcome.waits,
        "diff": [one.as_result() for one in outcome.diff],
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    # Of the files, the result hides those contents alone that are not to be shown.
    module.no_log_values.intersection_update({one["content"] for one in params["files"] if not one["diff"]})
    try:
        outcome = carry_out(params, module.check_mode)
    except HostError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **{"reverted": False, **exc.details})
    for one in outcome.left:
        module.warn(f"{one.path} is not given back: {one.why}")
    for text in outcome.recovered:
        module.warn(text)
    module.exit_json(**report(outcome))


if __name__ == "__main__":
    main()
