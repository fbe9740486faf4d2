#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_release
short_description: Bring a host to a release of a stack, gated, or back to the one before
version_added: 0.1.0
description:
  - Takes a release document, which the lookup P(emorobcare.fleet.stack#lookup) renders from a stack's folder, and makes
    it what runs on the host. The release is committed when its gate has passed; when anything fails before that, the
    host goes back to the release that was committed, with the settings that it had.
  - "In order: takes the stack's lock; checks settings, models, secrets, Compose files, images, ports, memory and disk,
    and refuses before anything that runs is touched; waits until the host is not busy; lets stateful services that are
    to change save what they hold; brings the containers up; gates them; turns the ingress to them; goes on gating for
    the soak; commits; removes what was replaced. Each step is in the journal before it is done, so that a run which was
    killed at any moment is finished by the next one, or undone at boot."
  - With C(rollout.strategy) V(blue_green) stateless services and jobs come up beside those that serve, as Compose
    project C(<stack>-blue) or C(<stack>-green), and stateful ones are C(<stack>-data), recreated only when their own
    definition changed. C(<stack>-ingress) serves one colour, so that the switch loses no request.
  - With V(recreate) all is one project, C(<stack>), whose changed services are recreated, with a gap.
  - Where release and settings are committed already, every container is what it should be and the release's files are
    untouched, nothing is done. In particular no job is run again.
  - A service is recreated only when its own configuration, image, model version or secret changed; a side is replaced
    as a whole when one of its services did. Jobs run at every deployment that changes a container.
  - Secrets are mounted as files that containers of any user can read, below a folder that only root of the host can
    enter. A changed secret recreates the services that mount it.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Refuses what the real run would refuse, but for what earlier tasks of the same play would have put there in a
        real run. Where Docker, an image or a model is missing, the deployment is predicted, and RV(pending) tells what
        was missing.
      - Nothing is pulled, so that an image which cannot be pulled is found by the real run only.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - the C(docker) command line on the host, with its Compose plugin (2.20 or later)
  - jmespath on the host, where a check of the gate has C(expect)
options:
  state:
    description:
      - V(committed) brings the host to O(release).
      - V(rolled_back) goes back to a release that was committed before and that the host kept, with the settings that
        it had. Neither controller nor network are needed for it. Jobs that cannot be undone are not run again.
      - V(absent) removes the stack's containers and networks, and the images that were built for it and that no other
        container uses. Models are left to M(emorobcare.fleet.model_pull).
    type: str
    choices:
      - committed
      - rolled_back
      - absent
    default: committed
  stack:
    description:
      - Name of the stack, with which the names of its Compose projects begin.
      - Required when O(state=absent) and O(state=rolled_back). With O(state=committed) it must be the document's, when
        given.
    type: str
  release:
    description:
      - The release document.
      - Required when O(state=committed).
    type: dict
  id:
    description: The SHA-256 of the document's canonical JSON, to be sure that it arrived as it was made.
    type: str
  files:
    description:
      - The files that the document lists, by path, in base64.
      - Required when O(state=committed).
    type: dict
  to:
    description:
      - With O(state=rolled_back), the beginning of the id of the release to go back to. By default the one that was
        committed before the present one.
    type: str
  accept_loss:
    description:
      - With O(state=rolled_back), go back past jobs that cannot be undone (C(irreversible) in C(stack.yml)). The older
        release then runs on the data as they left it.
    type: bool
    default: false
  override:
    description:
      - Refusals that are not to be made. V(busy) disturbs a host without asking whether it is busy, V(memory) brings up
        a side that may not fit beside the other.
      - The journal records with the release those that would have been made, and V(busy) where the host could be.
    type: list
    elements: str
    choices:
      - busy
      - memory
    default: []
  parameters:
    description:
      - The host's values for parameters that the stack declares. Unknown ones, and values of another type or outside
        of the choices, are refused.
    type: dict
    default: {}
  secrets:
    description:
      - Secrets that the stack declares, by name. They are stored on the host when the release is committed.
      - A secret that is not given is read from its file, C(<secrets_root>/<stack>/<name>), where a
        person or an earlier run put it.
    type: dict
    default: {}
  root:
    description: Where releases, settings, journal and models of the host are.
    type: path
    default: /var/lib/fleet
  secrets_root:
    description: Where secrets of the host are.
    type: path
    default: /etc/fleet/secrets
  data:
    description:
      - With O(state=absent), remove the stack's volumes, settings, secrets, releases and journal too.
    type: bool
    default: false
  keep:
    description: How many committed releases to keep on the host, the present one included.
    type: int
    default: 3
  lock_timeout:
    description: Seconds to wait for another run on the same stack to end.
    type: float
    default: 30
notes:
  - The gate's O(release) key C(rollout.gate_timeout) bounds bringing the containers up and the gate, each.
  - "A failed run returns one of these as RV(reason):"
  - V(parameter_invalid), V(secret_invalid), V(release_invalid), V(gate_invalid), V(ingress_invalid) - the task or the
    stack is wrong; the message names option, value and what is allowed.
  - V(secret_missing) - an active service mounts a secret that the host has not.
  - V(model_missing) - a model version is not published on the host, or a file of it has another size.
  - V(image_missing) - an image that is built is not on the host. V(image_unavailable) - another one cannot be pulled.
  - V(port_taken) - a process or another stack's container holds a port. V(address_missing) - the host has not the
    address that a port is to be published on.
  - V(docker_unavailable) - no engine, no command line or no Compose plugin. V(docker_failed) - it answered otherwise
    than it should.
  - V(library_missing) - jmespath is needed and not there.
  - V(locked) - another run is at work. V(journal_newer) - a newer version of this collection deployed here.
    V(journal_lost) - the stack's containers are here, and no journal tells what they are.
  - V(write_failed) - the disk is full, or the file system cannot be written.
  - V(no_memory), V(no_space) - the host is too small for the candidate, or too full. V(busy) - it says that it must not
    be disturbed, or says nothing.
  - V(snapshot_failed) - a stateful service could not save what it holds.
  - V(release_gone) - a release that is to come back is not on the host, or something that it needs is not.
    V(irreversible) - a job that ran since cannot be undone. V(interrupted) - an earlier run was cut off.
  - V(activation_failed) - Compose could not bring the containers up. V(gate_failed) - a container ended for good, or
    kept restarting. V(gate_timeout) - a check did not pass in time. V(job_timeout) - a job did not end in time.
    V(ingress_unavailable), V(ingress_failed) - the ingress does not answer, or could not be turned. V(ingress_not_up) -
    it does not reach the new side. V(certificate_failed) - the fleet's authority could not issue a certificate.
    V(soak_failed) - a check that had passed did not go on holding.
    These come after something was touched.
  - V(removal_failed) - something could not be removed.
seealso:
  - module: emorobcare.fleet.health_gate
  - module: emorobcare.fleet.image_build
  - module: emorobcare.fleet.model_pull
"""

EXAMPLES = r"""
- name: Bring the shop to its release
  emorobcare.fleet.stack_release:
    release: "{{ stack.release.document }}"
    id: "{{ stack.release.id }}"
    files: "{{ stack.release.files }}"
    parameters:
      PORT: 8080
    secrets:
      db_password: "{{ vault_db_password }}"
  vars:
    stack: "{{ lookup('emorobcare.fleet.stack', '/srv/stacks/shop', environment='prod') }}"

- name: Bring the shop back to what it was before
  emorobcare.fleet.stack_release:
    stack: shop
    state: rolled_back

- name: Take the shop off the host, its data too
  emorobcare.fleet.stack_release:
    stack: shop
    state: absent
    data: true
"""

RETURN = r"""
release:
  description: Id of the release that the task asked for, V(none) with O(state=absent).
  type: str
  returned: success
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
settings:
  description: Keyed digest of parameters and secrets; it tells nothing about them.
  type: str
  returned: success, but with O(state=absent)
services:
  description: What runs, a row for each active service.
  type: list
  elements: dict
  returned: success
  contains:
    service:
      description: The service.
      type: str
    lifecycle:
      description: Its lifecycle.
      type: str
    state:
      description: State of its container as Docker names it, V(absent) without one.
      type: str
    health:
      description: What its health check says, V(none) without one.
      type: str
    url:
      description: Where people find it, V(none) when nowhere.
      type: str
    models:
      description: The model versions that it mounts.
      type: list
      elements: str
    ready_seconds:
      description: Seconds from its container's start until all its checks passed; for a job, how long it ran.
      type: float
  sample:
    - service: api
      lifecycle: stateless
      state: running
      health: healthy
      url: http://127.0.0.1:8080/api/docs
      models: [all-minilm-l6-v2/1]
      ready_seconds: 2.31
plan:
  description: What happens to each service, and why.
  type: list
  elements: dict
  returned: success, but with O(state=absent)
  sample:
    - {service: api, action: recreate, why: its configuration changed}
gap:
  description: Which services do not answer for a while, and for how many seconds, as far as the last time tells.
  type: dict
  returned: success, but with O(state=absent)
  sample: {services: [db], seconds: 4.2}
colour:
  description: The side that the release serves from, or is going to, V(none) where there are no sides.
  type: str
  returned: success, but with O(state=absent)
  sample: green
gate:
  description: How often each check was tried, and how long its last answer took; empty when the gate did not run.
  type: list
  elements: dict
  returned: success with O(state=committed)
  sample:
    - {service: api, check: http GET :8000/health, attempts: 4, latency: 0.003}
pending:
  description: What was missing, and would be there in a real run.
  type: list
  elements: str
  returned: in check mode with O(state=committed)
reason:
  description: Why it failed; see the notes.
  type: str
  returned: failure
  sample: gate_failed
rolled_back_to:
  description: The release that runs again, V(none) when there was none to go back to or none was needed.
  type: str
  returned: when activation or gate failed
service:
  description: The service that failed.
  type: str
  returned: when one is to blame
  sample: api
check:
  description: The check that failed, V(container) for the container's own state.
  type: str
  returned: when a check failed
  sample: http POST :8000/embed
answer:
  description: Its last answer.
  type: str
  returned: when a check failed
  sample: 'status 500, not 200: Internal Server Error'
log:
  description: The last lines of that service's log, known secrets masked.
  type: list
  elements: str
  returned: when a check failed
"""

import contextlib
import signal
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import default_cli
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_deploy import deploy
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import (
    decode_files,
    parse_document,
    stack_name,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, lock
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Request, Site
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_remove import remove_stack
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollback import roll_back

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "state": {"type": "str", "choices": ["committed", "rolled_back", "absent"], "default": "committed"},
    "stack": {"type": "str"},
    "release": {"type": "dict"},
    "id": {"type": "str"},
    "files": {"type": "dict"},
    "to": {"type": "str"},
    "accept_loss": {"type": "bool", "default": False},
    "override": {"type": "list", "elements": "str", "choices": ["busy", "memory"], "default": []},
    "parameters": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "root": {"type": "path", "default": "/var/lib/fleet"},
    "secrets_root": {"type": "path", "default": "/etc/fleet/secrets", "no_log": False},
    "data": {"type": "bool", "default": False},
    "keep": {"type": "int", "default": 3},
    "lock_timeout": {"type": "float", "default": 30},
}


def read_request(params: t.Mapping[str, t.Any]) -> Request:
    """Read the task.

    Raises:
        ReleaseError: document, files or numbers are not as they must be.
    """
    release = parse_document(params["release"], params["id"])
    if params["stack"] not in (None, release.stack):
        raise ReleaseError(
            f"stack is {params['stack']!r}, but the release is one of {release.stack!r}", reason="release_invalid"
        )
    contents = decode_files(release, params["files"])
    overrides = tuple(params["override"])
    return Request(release, contents, params["parameters"], params["secrets"], params["keep"], overrides)


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Take the lock, which check mode has no need of, and do what the task asks for."""
    params = module.params
    if params["keep"] < 1:
        raise ReleaseError(f"keep must be at least 1, got {params['keep']}", reason="release_invalid")
    if params["data"] and params["state"] != "absent":
        raise ReleaseError("data removes data: it goes with state=absent only", reason="release_invalid")
    request = read_request(params) if params["state"] == "committed" else None
    stack = request.release.stack if request else stack_name(params["stack"])
    places = Places(params["root"], params["secrets_root"], stack)
    with contextlib.ExitStack() as held:
        keep_open = [] if module.check_mode else [held.enter_context(lock(places, params["lock_timeout"]))]
        site = Site(places, default_cli(keep_open), module.check_mode, module.warn)
        if request:
            return deploy(site, request)
        if params["state"] == "rolled_back":
            return roll_back(site, params["to"], params["accept_loss"], params["keep"], params["override"])
        return remove_stack(site, stack, params["data"])


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[
            ("state", "committed", ("release", "files")),
            ("state", "rolled_back", ("stack",)),
            ("state", "absent", ("stack",)),
        ],
        supports_check_mode=True,
    )
    # A controller that is gone must not leave the host in between: what was begun ends here, one way or the other.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = run(module)
    except ReleaseError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
