#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_host_audit
short_description: Hold a Docker host against the CIS Docker Benchmark
version_added: 0.1.0
description:
  - Looks at the host, its engine, the engine's files, the containers that run and the images that they run from, and
    tells of each control of the CIS Docker Benchmark (1.6.0 to 1.8.0) whether it holds, with what shows it and what to
    do. Reads only, and asks the engine a handful of questions.
  - What cannot be looked at (a file that may not be read, an engine that does not answer, a F(daemon.json) that the
    engine has not read yet) never counts as held. It fails, and says why.
  - A control that this collection does not enforce by default, and says why, counts as an exception where it does not
    hold, or where no audit of a host can look. A rule of the task's overrides that.
  - With O(compose) a Compose document is looked at instead, before anything of it runs.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Does all but write O(textfile).
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  rules:
    description:
      - What to make of a control that does not hold, by its slug (see the page of controls). Each has C(level), one of
        V(fail), V(warn), which is told and does not fail the module, and V(ignore), which makes an exception.
      - V(ignore) needs C(reason), and C(until), the day (YYYY-MM-DD) after which it counts again. C(paths) narrows it
        to evidence that begins with a matching path, or to containers, services and images whose name matches.
    type: dict
    default: {}
  trusted_users:
    description:
      - Users who may be in the engine's group, and so may become root at any time.
    type: list
    elements: str
    default: []
  compose:
    description:
      - A Compose document to look at instead of the host, as C(docker compose config --format json) prints it.
      - One that has C(include), C(extends), paths that lead out of its own folder, or variables where a rule looks is
        refused. Only Compose knows what it comes to.
    type: dict
  textfile:
    description:
      - File to write metrics to, for the textfile collector of Prometheus' node_exporter. Its name must end in
        C(.prom). It is replaced in one step.
      - It holds how many controls have which status in each section (C(docker_host_audit_rows)), which controls fail
        (C(docker_host_audit_failing)), and when the audit was (C(docker_host_audit_timestamp_seconds)).
    type: path
  strict:
    description:
      - Whether the module fails where a control of level V(fail) does not hold.
    type: bool
    default: false
notes:
  - Run it as root. Without, much cannot be looked at, and so fails.
  - Writing O(textfile) is no change; the module never reports one.
  - "Numbers are those of the benchmark's versions 1.6.0 and 1.7.0; RV(rows[].control_18) has that of 1.8.0."
seealso:
  - module: emorobcare.fleet.image_audit
"""

EXAMPLES = r"""
- name: Audit the host, and show what does not hold
  emorobcare.fleet.docker_host_audit:
    trusted_users: [robot]
  register: audit

- name: Show it
  ansible.builtin.debug:
    msg: "{{ audit.table }}"

- name: Audit every night for Prometheus, with an exception that ends
  emorobcare.fleet.docker_host_audit:
    textfile: /var/lib/prometheus/node-exporter/docker_host_audit.prom
    rules:
      central-logs: {level: fail}
      privileged:
        level: ignore
        reason: The old camera driver needs it; its successor is ordered
        until: "2027-06-30"
        paths: [camera-*]

- name: Have Compose render a file
  ansible.builtin.command:
    argv: [docker, compose, --file, compose.yml, config, --format, json]
  register: rendered
  changed_when: false
  delegate_to: localhost

- name: Refuse it if it asks for too much
  emorobcare.fleet.docker_host_audit:
    compose: "{{ rendered.stdout | from_json }}"
    strict: true
  delegate_to: localhost
"""

RETURN = r"""
rows:
  description:
    - A row for each control, of those about containers, services and images for each; also when the module fails
      because of them.
  type: list
  elements: dict
  returned: always, but on an error
  contains:
    control:
      description: Number of the control in 1.6.0 and 1.7.0.
      type: str
    control_18:
      description: Its number in 1.8.0, where one control may be two.
      type: str
    slug:
      description: Its name, to be used in O(rules).
      type: str
    title:
      description: What must hold.
      type: str
    kind:
      description: What the collection does about it by default, V(enforced), V(opt-in) or V(recorded).
      type: str
    subject:
      description: V(host), or the name of the container, service or image.
      type: str
    status:
      description: V(pass), V(fail), V(exception) or V(not applicable).
      type: str
    level:
      description: V(fail), or V(warn) for what is only told.
      type: str
    evidence:
      description: What shows it; of a control that does not apply, or at which nobody looked, why not.
      type: list
      elements: str
    reason:
      description: Why it is an exception, or why it is none any more.
      type: str
    until:
      description: The last day of the exception, empty for one of the collection's own.
      type: str
    way_out:
      description: What to do about a failure.
      type: str
  sample:
    - control: "2.15"
      control_18: "2.16"
      slug: live-restore
      title: Containers run on while the engine is away
      kind: enforced
      subject: host
      status: fail
      level: fail
      evidence: [containers end with the engine]
      reason: ""
      until: ""
      way_out: 'Set "live-restore": true by docker_host_daemon or module docker_daemon'
counts:
  description: How many rows have which status, over all sections.
  type: dict
  returned: always, but on an error
  sample: {pass: 52, fail: 3, exception: 4, not applicable: 88}
sections:
  description: The same for each section, by its number.
  type: dict
  returned: always, but on an error
  sample: {"2": {pass: 13, fail: 1, exception: 4, not applicable: 0}}
table:
  description: All this for people, line by line.
  type: list
  elements: str
  returned: always, but on an error
verdict:
  description: Which controls of level V(fail) do not hold, in one line; empty when all do.
  type: str
  returned: always, but on an error
  sample: "1 control fails: 2.15 live-restore"
reason:
  description: "Why the module failed: V(controls_failed), V(rules_invalid), V(compose_invalid) or V(textfile)."
  type: str
  returned: failure
  sample: rules_invalid
"""

import datetime
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Row
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_judge import judge, judge_compose, read_rules
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_look import look
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_report import (
    STATUSES,
    count,
    table,
    verdict,
    write_metrics,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker, default_cli
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "rules": {"type": "dict", "default": {}},
    "trusted_users": {"type": "list", "elements": "str", "default": []},
    "compose": {"type": "dict"},
    "textfile": {"type": "path"},
    "strict": {"type": "bool", "default": False},
}


def audit(params: t.Mapping[str, t.Any], docker: Docker, today: datetime.date) -> list[Row]:
    """Look, and judge.

    Raises:
        HostError: rules or document make no sense.
    """
    policy = read_rules(params["rules"])
    if params["textfile"] and not params["textfile"].endswith(".prom"):
        raise HostError(
            f"textfile is {params['textfile']}; node_exporter reads names in .prom alone", reason="textfile"
        )
    if params["compose"] is not None:
        return judge_compose(params["compose"], policy, today)
    return judge(look(docker, params["trusted_users"]), policy, today)


def report(rows: t.Sequence[Row]) -> dict[str, t.Any]:
    """Return the module's result."""
    sections = count(rows)
    return {
        "changed": False,
        "rows": [row.as_result() for row in rows],
        "counts": {status: sum(counts[status] for counts in sections.values()) for status in STATUSES},
        "sections": {str(section): counts for section, counts in sections.items()},
        "table": table(rows),
        "verdict": verdict(rows),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        rows = audit(params, default_cli(), datetime.date.today())
        if params["textfile"] and not module.check_mode:
            write_metrics(params["textfile"], rows, time.time())
    except HostError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason)
    except OSError as exc:
        module.fail_json(msg=f"textfile: {exc.filename}: {exc.strerror}; choose another folder", reason="textfile")
    result = report(rows)
    if params["strict"] and result["verdict"]:
        module.fail_json(msg=result["verdict"], reason="controls_failed", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
