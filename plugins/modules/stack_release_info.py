#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_release_info
short_description: Tell what a host runs of its stacks, since when, and what it could go back to
version_added: 0.1.0
description:
  - Reads the journals of the stacks that M(emorobcare.fleet.stack_release) brought to the host, and asks Docker how
    their containers are. Needs neither the stacks' folders nor a network, and takes no lock.
  - What cannot be read does not fail the module. A journal that is damaged, or that a newer version of the collection
    wrote, is told as RV(stacks[].problem), an engine that does not answer as RV(engine).
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  stack:
    description: The stack to tell of. By default all that have a journal on the host.
    type: str
  root:
    description: Where releases and journals of the host are.
    type: path
    default: /var/lib/fleet
seealso:
  - module: emorobcare.fleet.stack_release
  - plugin: emorobcare.fleet.release_status
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at all stacks of the host
  emorobcare.fleet.stack_release_info:
  register: found

- name: Check that nothing is under way
  ansible.builtin.assert:
    that: found.stacks | rejectattr('phase', 'equalto', 'idle') | length == 0
"""

RETURN = r"""
engine:
  description: Why Docker gave no answer, V(none) when it did. Services are not known then.
  type: str
  returned: success
stacks:
  description: The stacks, in the order of their names; without the one that was asked for where it has no journal.
  type: list
  elements: dict
  returned: success
  contains:
    stack:
      description: Name of the stack.
      type: str
    problem:
      description: Why its journal cannot be read, V(none) when it can.
      type: dict
      contains:
        reason:
          description: V(journal_newer), V(journal_lost) when it is damaged, or V(journal_unreadable) when it may not.
          type: str
        message:
          description: The same for people.
          type: str
    working:
      description: Whether a run is at work on the stack right now.
      type: bool
    phase:
      description: V(idle), or the step that is under way, or was when a run was cut off.
      type: str
    candidate:
      description: Id of the release that is under way, V(none) when nothing is.
      type: str
    release:
      description: Id of the release that is committed, V(none) when none is.
      type: str
    environment:
      description: Environment that it was made for.
      type: str
    since:
      description: When it was committed, in UTC.
      type: str
    colour:
      description: The side that serves, V(none) where there are no sides.
      type: str
    overrides:
      description: Refusals that were overridden for it.
      type: list
      elements: str
    services:
      description: A row for each container of the stack, and for each service that should have one.
      type: list
      elements: dict
      contains:
        service:
          description: The service.
          type: str
        side:
          description: V(blue), V(green), V(data) or V(ingress); empty where there are no sides, V(none) without one.
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
        restarts:
          description: How often Docker restarted it.
          type: int
        exit_code:
          description: Exit code of one that has ended.
          type: int
        since:
          description: When it was started, or ended, in UTC.
          type: str
    gate:
      description: The last gate that it passed, V(none) when none is committed.
      type: dict
      contains:
        since:
          description: When, in UTC.
          type: str
        seconds:
          description: How many seconds the slowest of its services needed until it was ready, if that is known.
          type: float
    kept:
      description: The releases that the host could go back to, the latest first.
      type: list
      elements: dict
      contains:
        release:
          description: Its id.
          type: str
        environment:
          description: Environment that it was made for.
          type: str
        since:
          description: When it was committed, in UTC.
          type: str
        irreversible:
          description: Its jobs that cannot be undone.
          type: list
          elements: str
        complete:
          description: Whether its document is on the host.
          type: bool
    failure:
      description: The last run that did not commit, V(none) when the last one did.
      type: dict
      contains:
        at:
          description: When, in UTC.
          type: str
        release:
          description: Id of the release that was not committed.
          type: str
        reason:
          description: The reason, as of M(emorobcare.fleet.stack_release).
          type: str
        message:
          description: What was said.
          type: str
  sample:
    - stack: shop
      problem: null
      working: false
      phase: idle
      candidate: null
      release: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      environment: prod
      since: "2026-11-21T09:30:00Z"
      colour: green
      overrides: []
      services:
        - service: api
          side: green
          lifecycle: stateless
          state: running
          health: healthy
          restarts: 0
          exit_code: null
          since: "2026-11-21T09:29:41Z"
      gate: {since: "2026-11-21T09:30:00Z", seconds: 2.3}
      kept: []
      failure: null
reason:
  description: Why it failed, V(release_invalid) for a stack that cannot be called so.
  type: str
  returned: failure
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker, default_cli
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import DOCUMENT, stack_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, find_journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_info import Seen, report
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_look import is_locked, stacks_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import all_projects
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import read_json

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "stack": {"type": "str"},
    "root": {"type": "path", "default": "/var/lib/fleet"},
}


def read_journal(places: Places) -> tuple[Journal | None, dict[str, str] | None]:
    """Return the journal, or why there is none."""
    try:
        journal = find_journal(places)[0]
    except ReleaseError as exc:
        return None, {"reason": exc.reason, "message": str(exc)}
    except OSError as exc:
        return None, {
            "reason": "journal_unreadable",
            "message": f"{places.journal} cannot be read: {exc.strerror}. Ask as root (become: true)",
        }
    if journal is None:
        return None, {
            "reason": "journal_lost",
            "message": f"{places.journal} cannot be read, and the one before it neither; what is committed is not "
            "known. The next deployment sets it aside",
        }
    return journal, None


def find_documents(places: Places, journal: Journal | None) -> dict[str, dict[str, t.Any]]:
    """Return the documents of the releases that the journal names, as far as they can be read."""
    ids = {identity.release for identity in journal.kept} if journal else set()
    found = {release: read_json(os.path.join(places.release(release), DOCUMENT)) for release in ids}
    return {release: document for release, document in found.items() if isinstance(document, dict)}


def look_at(docker: Docker, root: str, stack: str) -> tuple[Seen, str | None]:
    """Look at a stack; return also why the engine gave no answer."""
    places = Places(root, "", stack)
    journal, problem = read_journal(places)
    containers: tuple[Container, ...] | None = None
    silence = None
    try:
        containers = look(docker, *all_projects(stack))
    except ReleaseError as exc:
        silence = str(exc)
    documents = find_documents(places, journal)
    return Seen(stack, journal, problem, containers, documents, is_locked(places)), silence


def run(module: AnsibleModule) -> dict[str, t.Any]:
    root, wanted = module.params["root"], module.params["stack"]
    names = stacks_of(root)
    if wanted is not None:
        names = [name for name in names if name == stack_name(wanted)]
    docker = default_cli()
    looks = [look_at(docker, root, name) for name in names]
    silences = [silence for _seen, silence in looks if silence]
    return {
        "changed": False,
        "engine": silences[0] if silences else None,
        "stacks": [report(seen) for seen, _silence in looks],
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module)
    except ReleaseError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
