#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon
short_description: Change the Docker engine's options, and prove that containers still work
version_added: 0.1.0
description:
  - Merges options into C(daemon.json), and has the engine do as it says. What else is in the file stays.
  - Refuses, before anything is changed, what would keep the engine from starting, cut the host off, or hide what the
    engine holds. Each refusal has a reason of its own.
  - Has the engine read its file again where that is enough, and restarts it where it is not, if O(restart) allows it.
    Without that, the file is written, and RV(needs_restart) says what waits.
  - A restart is not noticed by who uses the containers. If C(live-restore) is wanted, it takes effect first, by a
    reload, so that containers run on while the engine restarts. New connections to published ports are held meanwhile
    by a table of nftables, whose entries the kernel drops by itself in time; the client's kernel sends them again.
  - It is one transaction. If the engine does not start with the new file, if a container that ran does not run again,
    or if what containers could do before fails now, the old file comes back and the engine is started with it. The same
    happens when the module is killed, or the power goes.
  - What the file held before the first change is kept, and O(state=absent) gives it back.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
  - emorobcare.fleet._probes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shown without what a URL has before its host, and without values that their names say to be secret (token,
      password, secret, key).
  idempotent:
    support: full
requirements:
  - a Docker engine of version 20.10 or later on the host, which is to run as root there
  - C(docker), the command line (package docker-cli of Debian, docker-ce-cli of Docker)
  - C(nft) (package nftables) to hold new connections while the engine restarts, which would refuse them
  - C(ip) and C(ss) (package iproute2), where addresses are given to containers. Those of the host, of its routes, of
    its nameservers and of who has a connection to it are refused
options:
  options:
    description:
      - Keys of C(daemon.json) and their values, as the engine has them. Dictionaries are merged with what the file
        holds, lists are replaced. The values of C(log-opts) and C(proxies) are texts.
      - When C(log-driver) changes, the C(log-opts) of the driver before it go.
    type: dict
    default: {}
  remove:
    description:
      - Keys to remove from the file, or one in a dictionary (V(log-opts.max-file)). Those that are not there are fine.
    type: list
    elements: str
    default: []
  path:
    description: The engine's file.
    type: path
    default: /etc/docker/daemon.json
  mode:
    description: Mode of the file, in octal. Without it a file keeps the one that it has, and a new one gets V(0644).
    type: str
  owner:
    description: Owner of the file.
    type: str
    default: root
  group:
    description: Group of the file.
    type: str
    default: root
  state:
    description:
      - V(absent) gives the host back the file of before the first change, or none if there was none. A file that
        somebody else has edited since is left alone; RV(kept) says so. One that would hide what the engine holds by now
        is refused, as any other.
    type: str
    choices: [present, absent]
    default: present
  restart:
    description:
      - Whether the engine may be restarted where a reload is not enough.
      - Without C(live-restore) that stops all containers. Those that ran are started again, whatever their restart
        policy; those that are removed when they end (C(--rm)) are lost. One that does not run again takes the change
        back, unless it has no policy and ends well (with exit code 0), as a job does. A Swarm runs its tasks again by
        itself, in new containers.
    type: bool
    default: false
  hold:
    description:
      - Seconds for which new connections to published ports are held at most while the engine restarts; V(0) lets them
        be refused.
    type: int
    default: 30
  drain:
    description:
      - Seconds for which connections through the engine's own proxy (those from the host's loopback, say) get to end
        before the engine is restarted, which cuts them. Other connections outlive it.
    type: float
    default: 5
  timeout:
    description: Seconds that the engine has to take its file or to answer after a restart.
    type: float
    default: 60
  pid_file:
    description: Where the engine leaves its process id, if that is not the usual place.
    type: path
    default: /var/run/docker.pid
  folder:
    description: Where the host remembers changes of itself.
    type: path
    default: /var/lib/fleet/host
seealso:
  - module: emorobcare.fleet.host_change
  - module: emorobcare.fleet.docker_host_probe
notes:
  - The engine leaves its default bridge as it is as long as containers run on. So with C(live-restore) a change of
    C(icc), C(bip), C(mtu) and the like takes effect when it starts and no container runs, at the next boot say.
  - Logging options count for containers that are made from then on. RV(stale) names those that were made before.
"""

EXAMPLES = r"""
- name: Limit logs, keep containers running while the engine restarts, and let none gain privileges
  emorobcare.fleet.docker_daemon:
    options:
      live-restore: true
      log-driver: local
      log-opts: {max-size: 10m, max-file: "3"}
      no-new-privileges: true
      userland-proxy: false
    restart: true

- name: Say what would be done
  emorobcare.fleet.docker_daemon:
    options:
      default-address-pools:
        - {base: 10.200.0.0/16, size: 24}
    restart: true
  check_mode: true

- name: Give the host its own file back
  emorobcare.fleet.docker_daemon:
    state: absent
    restart: true
"""

RETURN = r"""
action:
  description: What is done to the engine, or would be; V(none), V(reload) or V(restart).
  type: str
  returned: success
  sample: restart
needs_restart:
  description: Whether something in the file waits for the engine to start anew.
  type: bool
  returned: success
  sample: false
pending:
  description: The keys that wait.
  type: list
  elements: str
  returned: success
  sample: [icc]
stale:
  description: Containers that were made before the file's logging options, and so do not have them. Make them anew.
  type: list
  elements: str
  returned: success
  sample: [shop-db-1]
files:
  description: The files that hold something else now, or would.
  type: list
  elements: str
  returned: success
  sample: [/etc/docker/daemon.json]
kept:
  description: Files that are not given back, and why.
  type: list
  elements: str
  returned: success
  sample: ["/etc/docker/daemon.json: somebody has changed its content since"]
probes:
  description: What containers could do C(before) and C(after), where it was asked.
  type: dict
  returned: success
restarted:
  description: How a restart went.
  type: dict
  returned: when the engine was restarted
  contains:
    seconds:
      description: Seconds from when new connections were held until the engine and the containers were back.
      type: float
    live_restore:
      description: Whether containers ran on.
      type: bool
    held:
      description: Whether new connections were held.
      type: bool
    why_not:
      description: What was in the way of that; empty where no port is published, or O(hold) is V(0).
      type: str
    packets:
      description: How many packets were held.
      type: int
    cut:
      description: Connections through the engine's own proxy that had not ended in time, and were cut.
      type: int
    restarted:
      description: Containers that were stopped and started again.
      type: list
      elements: str
    lost:
      description: Containers that were removed when they ended, as they were made to be.
      type: list
      elements: str
msg:
  description: What is done to the engine, in a sentence.
  type: str
  returned: always
  sample: the engine was restarted for icc; 3 containers run on meanwhile
reason:
  description:
    - "Why it failed. Refused, and nothing was changed: V(file_invalid), V(file_unread), V(option_unknown),
      V(option_invalid), V(option_is_flag), V(option_forbidden), V(address_collision), V(data_hidden),
      V(engine_unavailable), V(locked)."
    - "Taken back: V(reload_failed), V(restart_failed), V(probe_failed), V(interrupted), V(write_failed)."
    - Others are those of M(emorobcare.fleet.host_change).
  type: str
  returned: failure
  sample: option_is_flag
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon import Wanted, stale
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_run import (
    Done,
    Request,
    describe,
    differences,
    run,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_restart import Order
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import as_result
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_container import PROBING, read_asked
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_run import asking

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    **PROBING,
    "options": {"type": "dict", "default": {}},
    "remove": {"type": "list", "elements": "str", "default": []},
    "path": {"type": "path", "default": "/etc/docker/daemon.json"},
    "mode": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "restart": {"type": "bool", "default": False},
    "hold": {"type": "int", "default": 30},
    "drain": {"type": "float", "default": 5},
    "timeout": {"type": "float", "default": 60},
    "pid_file": {"type": "path", "default": "/var/run/docker.pid"},
    "folder": {"type": "path", "default": "/var/lib/fleet/host"},
}

_OCTAL = 8


def read_request(params: t.Mapping[str, t.Any]) -> Request:
    """Read the task.

    :raises HostError: a number makes no sense.
    """
    try:
        mode = None if params["mode"] is None else int(params["mode"], _OCTAL)
    except ValueError:
        raise HostError(f"mode: {params['mode']!r} is no mode; use 0644, for example", reason="invalid") from None
    for option, lowest in (("hold", 0), ("drain", 0), ("timeout", 1)):
        if params[option] < lowest:
            raise HostError(f"{option} is {params[option]:g}; it must be at least {lowest} s", reason="invalid")
    asked = read_asked(params["probes"])
    return Request(
        wanted=Wanted(params["path"], params["options"], tuple(params["remove"])),
        present=params["state"] == "present",
        restart=params["restart"],
        order=Order(params["timeout"], params["hold"], params["drain"], params["pid_file"]),
        mode=mode,
        owner=params["owner"],
        group=params["group"],
        probe=asking(asked) if params["probe"] else None,
        settle=params["probes"]["settle"],
        folder=params["folder"],
    )


def result(done: Done, request: Request, check_mode: bool) -> dict[str, t.Any]:
    """Return how it went, as the module tells it."""
    due, outcome = done.due, done.outcome
    told = {
        "changed": done.changed,
        "msg": describe(due, check_mode=check_mode, restart=request.restart),
        "action": due.plan.action,
        "needs_restart": due.plan.needs_restart,
        "pending": list(due.plan.pending),
        "stale": stale(due.draft.after, due.found.containers),
        "files": list(outcome.files),
        "kept": [f"{left.path}: {left.why}" for left in outcome.left],
        "probes": {"before": as_result(outcome.before), "after": as_result(outcome.after)},
        "diff": differences(done, request),
    }
    return {**told, "restarted": done.report.__dict__} if done.report else told


def warn(module: AnsibleModule, done: Done) -> None:
    report = done.report
    for what in done.outcome.recovered:
        module.warn(what)
    if report and report.why_not:
        module.warn(f"new connections were not held while the engine restarted; some may be refused: {report.why_not}")
    if report and report.cut:
        module.warn(f"{report.cut} connections through the engine's own proxy had not ended in time, and were cut")
    if report and report.lost:
        module.warn(f"removed by the engine when they were stopped (--rm): {', '.join(report.lost)}")


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        request = read_request(module.params)
        done = run(request, check_mode=module.check_mode)
    except HostError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    warn(module, done)
    module.exit_json(**result(done, request, module.check_mode))


if __name__ == "__main__":
    main()
