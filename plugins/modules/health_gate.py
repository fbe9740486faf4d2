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
  - Looks at the containers of Compose projects and asks them (requests, connections, commands, logs), all side by
    side, round after round, until every check has passed several times in a row.
  - Fails at once when a container has ended for good, when Docker keeps restarting it, or when a line was logged that
    must not appear; and when the time is over. Says which check of which service failed, what it answered last, and
    the last lines of that service's log. A container that ran out of memory is named as such, with its limit.
  - A container passes when it runs and, if it has a health check, is healthy; one of a job when it ended with exit code
    0. Crashing and then becoming healthy is no failure, as long as the restarts do not climb beyond O(max_restarts).
  - Requests and connections go from the host to the container's own address, so no port has to be published.
  - Listens to Docker's events, so that it looks again as soon as something happens to a container. Where there is
    nothing to listen to, it looks by O(interval) alone.
  - Changes nothing, but for what the commands of C(exec) do. M(emorobcare.fleet.stack_release) runs the same gate by
    itself.
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
  projects:
    description: Names of the Compose projects whose containers are looked at. Together they must have every service.
    type: list
    elements: str
    required: true
    aliases: [project]
  services:
    description:
      - The services to check, by name. Each has C(lifecycle) (V(stateless), V(stateful), V(job) or V(ingress); only
        V(job) makes a difference here) and C(gate), a list of checks besides the container's own state. A check is a
        dictionary with one key, its kind. A job, and whatever else must have ended, takes the kinds C(container) and
        C(log) alone.
      - "C(container) says how the container itself must be, where that differs from its lifecycle: C(state), V(running)
        or V(exited) (as the lifecycle says); C(exit_code) when it must have ended (V(0)); C(health), V(healthy) to
        insist on a health check, V(any) not to look at it (V(healthy) if it has one); C(restarts), how many are borne
        (O(max_restarts))."
      - "C(http) sends a request: C(port) in the container; C(path) (V(/)); C(scheme) (V(http), or V(https) without
        looking at the certificate); C(method) (V(GET)); C(headers); at most one of C(json), C(body) and C(body_file);
        C(status) that the answer must have (V(200)); C(expect), a JMESPath expression over the JSON answer that must
        be exactly true; C(max_latency), in seconds, to the end of the answer."
      - "C(tcp) wants a connection to be accepted: C(port) in the container; C(max_latency), in seconds."
      - "C(exec) runs a command in the container, without a shell: C(command), a list of strings; C(exit_code) that it
        must have (V(0)); C(expect_output), a regular expression to find in the first 64 KiB of what it prints, both
        outputs together; C(timeout), in seconds, after which it is killed (V(10), or C(max_latency) if that is
        longer); C(max_latency), in seconds."
      - "C(log) wants a line that the container logged since its last start: C(pattern), a regular expression; with
        C(absent) such a line must not appear, and fails the gate at once. Of a line the first 64 KiB count. The
        container's log driver must be one that Docker can read."
      - Regular expressions are those of Python, and match anywhere in the text unless they have anchors.
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
      - An event of Docker's cuts the pause short. The round that it brings forward may fail the gate, but counts among
        the rounds in a row only when it is the first of them.
    type: float
    default: 0.25
  max_restarts:
    description: How many restarts of a container by Docker are borne while the gate runs.
    type: int
    default: 3
notes:
  - "The command of C(exec) gets the setting E(EMOROBCARE_FLEET_GATE), by which it and all that it started are found on
    the host and killed when its time is over. What is not found goes on in its container, and the answer says so: where
    the engine is on another machine or in a virtual one (E(DOCKER_HOST)), where the module does not run as root, and
    when the command changed its environment. A process that waits in the kernel, for a broken disk for example, cannot
    be killed at all. Nor is anything killed when the module itself is killed."
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

- name: Wait until a stack of several projects serves, and nothing in it complains
  emorobcare.fleet.health_gate:
    projects: [shop-data, shop-blue, shop-ingress]
    success_threshold: 5
    interval: 1
    services:
      db:
        lifecycle: stateful
        gate:
          - container: {health: healthy, restarts: 0}
          - exec: {command: [psql, -U, shop, -tAc, SELECT count(*) > 0 FROM articles], expect_output: ^t$}
      api:
        gate:
          - log: {pattern: model loaded in \d+ s}
          - log: {pattern: "Traceback|out of memory", absent: true}
      ingress:
        lifecycle: ingress
        gate:
          - tcp: {port: 443, max_latency: 0.5}
"""

RETURN = r"""
checks:
  description: How each check went, over all containers of its service; also on failure.
  type: list
  elements: dict
  returned: always, but in check mode
  contains:
    service:
      description: The service.
      type: str
    check:
      description: V(container), or the check with its kind; one that is there twice is numbered.
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
      description: Seconds that the last answer took; V(null) where nothing was measured, as with containers and logs.
      type: float
    slowest:
      description: Seconds that the slowest answer took.
      type: float
    median:
      description: Seconds that half of the answers took at most.
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
      median: 0.004
    - service: db
      check: exec pg_isready -q
      ok: true
      attempts: 3
      failures: 0
      answer: exit code 0
      latency: 0.051
      slowest: 0.064
      median: 0.052
rounds:
  description: How many rounds there were.
  type: int
  returned: always, but in check mode
  sample: 5
ready_seconds:
  description:
    - Seconds from the start of a service's container until all its checks passed; for a job, or
      whatever else must have ended, how long it ran.
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
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate, require_library
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_parse import parse_services
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import (
    GateRun,
    log_tail,
    read_bodies,
    run_gate,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "projects": {"type": "list", "elements": "str", "required": True, "aliases": ["project"]},
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
        ReleaseError: a number is too low, there is no project, or a check is wrong.
    """
    if not all(params["projects"] or [""]):
        raise ReleaseError("projects must have at least one name, and no empty one", reason="gate_invalid")
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
            "slowest": one.slowest,
            "median": one.median,
        }
        for one in summarise(run.rounds)
    ]
    seconds = round(run.rounds[-1].elapsed, 2)
    return {"changed": False, "checks": checks, "rounds": len(run.rounds), "seconds": seconds}


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
        since = time.time() - gate.timeout
        run = run_gate(docker, params["projects"], gate, bodies)
        if not run.passed:
            module.fail_json(**report(run), **failure(run, docker))
    except ReleaseError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    ended = [service.name for service in gate.services if service.ends]
    module.exit_json(**report(run), ready_seconds=ready_seconds(run.rounds, run.containers, since, ended))


if __name__ == "__main__":
    main()
