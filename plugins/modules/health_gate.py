#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_gate
short_description: Wait until the services of a Compose project really answer
version_added: 0.1.0
description:
  - Looks at the containers of a Compose project and sends requests to them, all side by side, round after round, until
    every check has passed several times in a row.
  - Fails at once when a container has ended for good or Docker keeps restarting it, and when the time is over. Says
    which check of which service failed, what it answered last, and the last lines of that service's log.
  - A container passes when it runs and, if it has a health check, is healthy; one of a job when it ended with exit code
    0. Crashing and then becoming healthy is no failure, as long as the restarts do not climb beyond O(max_restarts).
  - Requests go from the host to the container's own address, so no port has to be published.
  - Changes nothing. M(emorobcare.fleet.stack_release) runs the same gate by itself.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: partial
    details:
      - In check mode the gate is skipped, since the containers that it would ask may only come with the real run.
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - the C(docker) command line on the host
  - jmespath on the host, where a check has C(expect)
options:
  project:
    description: Name of the Compose project.
    type: str
    required: true
  services:
    description:
      - The services to check, by name. Each has C(lifecycle) (V(stateless), V(stateful), V(job) or V(ingress); only
        V(job) makes a difference here) and C(gate), a list of checks besides the container's own state.
      - "A check is C(http) with: C(port) in the container; C(path) (V(/)); C(scheme) (V(http), or V(https) without
        looking at the certificate); C(method) (V(GET)); C(headers); at most one of C(json), C(body) and C(body_file);
        C(status) that the answer must have (V(200)); C(expect), a JMESPath expression over the JSON answer that must
        be exactly true; C(max_latency), in seconds, to the end of the answer."
    type: dict
    required: true
  files_root:
    description: Folder on the host that holds each C(body_file). Nothing outside of it is read.
    type: path
  success_threshold:
    description: How many rounds in a row every check must pass, with no container restarted in between.
    type: int
    default: 3
  timeout:
    description: Seconds until the gate gives up.
    type: float
    default: 120
  interval:
    description:
      - Seconds from the end of a round to the next one. While something still fails the pause grows, up to one second.
    type: float
    default: 0.25
  max_restarts:
    description: How many restarts of a container by Docker are borne while the gate runs.
    type: int
    default: 3
seealso:
  - module: emorobcare.fleet.stack_release
"""

EXAMPLES = r"""
- name: Wait until the shop serves
  emorobcare.fleet.health_gate:
    project: shop
    timeout: 60
    services:
      migrate:
        lifecycle: job
      db:
        lifecycle: stateful
      api:
        gate:
          - http: {port: 8000, path: /health}
          - http:
              port: 8000
              path: /embed
              method: POST
              json: {text: hola}
              expect: "length(vector) == `384`"
              max_latency: 2
"""

RETURN = r"""
checks:
  description: How each check went, also on failure.
  type: list
  elements: dict
  returned: always, but in check mode
  contains:
    service:
      description: The service.
      type: str
    check:
      description: V(container), or the request.
      type: str
    ok:
      description: Whether it passed in the last round.
      type: bool
    attempts:
      description: How often it was tried.
      type: int
    failures:
      description: How often it failed.
      type: int
    answer:
      description: The last answer, on one line and shortened.
      type: str
    latency:
      description: Seconds that the last answer took.
      type: float
    slowest:
      description: Seconds that the slowest answer took.
      type: float
  sample:
    - service: api
      check: http GET :8000/health
      ok: true
      attempts: 5
      failures: 2
      answer: 'status 200: {"status":"ok"}'
      latency: 0.004
      slowest: 0.012
ready_seconds:
  description:
    - Seconds from the start of a service's container until all its checks passed; for a job, how long it ran.
    - A service that was started longer than O(timeout) before the gate is left out.
  type: dict
  returned: success, but in check mode
  sample: {api: 2.31}
seconds:
  description: How long the gate took.
  type: float
  returned: always, but in check mode
  sample: 3.1
reason:
  description: "Why it failed: V(gate_failed), V(gate_timeout), V(gate_invalid), V(library_missing),
    V(docker_unavailable) or V(docker_failed)."
  type: str
  returned: failure
  sample: gate_failed
service:
  description: The service whose check failed.
  type: str
  returned: when a check failed
  sample: api
check:
  description: The check that failed.
  type: str
  returned: when a check failed
  sample: http POST :8000/embed
answer:
  description: Its last answer.
  type: str
  returned: when a check failed
  sample: 'status 500, not 200: Internal Server Error'
log:
  description: The last lines of that service's log.
  type: list
  elements: str
  returned: when a check failed
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker, default_cli
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import explain, ready_seconds, summarise
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    Gate,
    parse_services,
    require_library,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import (
    GateRun,
    ProjectLook,
    log_tail,
    read_bodies,
    run_gate,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "project": {"type": "str", "required": True},
    "services": {"type": "dict", "required": True},
    "files_root": {"type": "path"},
    "success_threshold": {"type": "int", "default": 3},
    "timeout": {"type": "float", "default": 120},
    "interval": {"type": "float", "default": 0.25},
    "max_restarts": {"type": "int", "default": 3},
}

_LOWEST = {"success_threshold": 1, "timeout": 0, "interval": 0, "max_restarts": 0}


def wanted_gate(params: t.Mapping[str, t.Any]) -> Gate:
    """Read the task.

    Raises:
        ReleaseError: a number is too low, or a check is wrong.
    """
    for option, lowest in _LOWEST.items():
        if params[option] < lowest:
            raise ReleaseError(f"{option} must be at least {lowest}, got {params[option]}", reason="gate_invalid")
    numbers = {option: params[option] for option in _LOWEST}
    return Gate(parse_services(params["services"]), **numbers)


def report(run: GateRun) -> dict[str, t.Any]:
    """Return how the gate went."""
    checks = [
        {
            "service": one.service,
            "check": one.check,
            "ok": one.ok,
            "attempts": one.attempts,
            "failures": one.failures,
            "answer": one.answer,
            "latency": one.latency,
            "slowest": max(one.latencies, default=None),
        }
        for one in summarise(run.rounds)
    ]
    return {"changed": False, "checks": checks, "seconds": round(run.rounds[-1].elapsed, 2)}


def failure(run: GateRun, docker: Docker) -> dict[str, t.Any]:
    """Return what to tell about a gate that did not pass."""
    culprit = run.decision.culprit
    message = explain(run.decision, run.gate, run.rounds)
    reason = "gate_failed" if run.decision.verdict == "fail" else "gate_timeout"
    if culprit is None:
        return {"msg": message, "reason": reason}
    log = log_tail(docker, run.containers, culprit.service)
    tail = "".join(f"\n  {line}" for line in log)
    return {
        "msg": f"{message}." + (f" Last lines of its log:{tail}" if tail else ""),
        "reason": reason,
        "service": culprit.service,
        "check": culprit.check,
        "answer": culprit.answer,
        "log": list(log),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    docker, params = default_cli(), module.params
    try:
        gate = wanted_gate(params)
        if module.check_mode:
            module.exit_json(changed=False, skipped=True, msg="the gate does not run in check mode")
        require_library(gate.services)
        bodies = read_bodies(gate.services, params["files_root"])
        names = [service.name for service in gate.services]
        since = time.time() - gate.timeout
        run = run_gate(gate, ProjectLook(docker, params["project"], names), bodies)
        if not run.passed:
            module.fail_json(**report(run), **failure(run, docker))
    except ReleaseError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    jobs = [service.name for service in gate.services if service.is_job]
    module.exit_json(**report(run), ready_seconds=ready_seconds(run.rounds, run.containers, since, jobs))


if __name__ == "__main__":
    main()
