#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_sync
short_description: Bring a release from a depot to a host
version_added: 0.1.0
description:
  - Verifies the depot as the host was enrolled to trust it, chooses the release for this host, and copies what that
    needs into the host store. Models are published, images are pulled by the engine from the depot itself, and packages
    for apt are laid out as a folder.
  - What is used is what was copied and checked; nothing of the depot is run or loaded before it was verified, and
    nothing that runs is touched.
  - What an interrupted run has copied is gone on with. The second run copies nothing.
  - A depot that is refused gets a receipt that says why, where it can be written; the host keeps one, too.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
  - emorobcare.fleet._depot
attributes:
  check_mode:
    support: full
    details:
      - Verifies the depot's metadata, and remembers its versions as in a real run.
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - An enrolled host, see M(emorobcare.fleet.depot_tool).
  - Python 3.10 or later.
options:
  stack:
    description:
      - The stack. Needed where the depot has several.
    type: str
  counter:
    description:
      - The release. By default the newest one for this host.
    type: int
  images:
    description:
      - Whether to pull images. V(false) is for hosts that get their engine from the depot's packages first.
    type: bool
    default: true
  root:
    description:
      - Folder of the host store.
    type: path
    default: /var/lib/fleet
seealso:
  - module: emorobcare.fleet.depot_verify
  - module: emorobcare.fleet.stack_release
"""

EXAMPLES = r"""
- name: Bring the newest release from the stick
  emorobcare.fleet.depot_sync:
    depot: /media/usb
    stack: emorobcare
  register: brought

- name: Deploy it
  emorobcare.fleet.stack_release:
    release: "{{ brought.release.document }}"
    id: "{{ brought.release.id }}"
    files: "{{ brought.release.files }}"
  when: brought.complete
"""

RETURN = r"""
release:
  description: The release, as M(emorobcare.fleet.stack_release) takes it. Not in check mode, where it may not be there.
  type: dict
  returned: success, when it is on the host
  contains:
    id:
      description: Id of the release.
      type: str
    document:
      description: The release document.
      type: dict
    files:
      description: The release's files in base64, by path.
      type: dict
stack:
  description: The stack.
  type: str
  returned: success
counter:
  description: The release's counter.
  type: int
  returned: success
complete:
  description: Whether the host has all that the release needs. If not, other volumes have the rest.
  type: bool
  returned: success
packages:
  description: Folder with repositories for apt by Debian release; empty when the release has none for this host.
  type: str
  returned: success
runtime:
  description: Folder with what a controller on the host needs; empty when the release has none.
  type: str
  returned: success
pulled:
  description: References of images that the engine got, or that got their name.
  type: list
  elements: str
  returned: success
bytes:
  description: Bytes that were copied into the host store, or would be in check mode.
  type: int
  returned: success
bytes_pulled:
  description: Bytes of layers that the engine lacked.
  type: int
  returned: success
reason:
  description: What the depot, or the release, was refused for; see C(docs/depot-format.md).
  type: str
  returned: failure
  sample: expired
"""

import base64
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_bring import Brought, Order, bring, release_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_report import report_refusal
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import default_cli

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "depot": {"type": "str", "required": True},
    "stack": {"type": "str"},
    "counter": {"type": "int"},
    "images": {"type": "bool", "default": True},
    "root": {"type": "path", "default": "/var/lib/fleet"},
    "ca_path": {"type": "path"},
    "trust_anchor": {"type": "path", "default": "/etc/fleet/trust"},
    "trust_state": {"type": "path", "default": "/var/lib/fleet/trust"},
    "lock_timeout": {"type": "float", "default": 60},
}


def read_order(params: t.Mapping[str, t.Any], check_mode: bool) -> Order:
    return Order(
        depot=params["depot"],
        root=params["root"],
        stack=params["stack"],
        counter=params["counter"],
        places=TrustPlaces(params["trust_anchor"], params["trust_state"]),
        ca_path=params["ca_path"],
        lock_timeout=params["lock_timeout"],
        check_mode=check_mode,
    )


def release_result(root: str, brought: Brought) -> dict[str, t.Any]:
    """Return the release as stack_release takes it."""
    release, contents = release_of(root, brought.manifest)
    files = {path: base64.b64encode(content).decode("ascii") for path, content in sorted(contents.items())}
    return {"id": release.id, "document": dict(release.document), "files": files}


def run(module: AnsibleModule) -> dict[str, t.Any]:
    order = read_order(module.params, module.check_mode)
    docker = default_cli(()) if module.params["images"] else None
    brought = bring(order, docker, time.time)
    result = {
        "changed": brought.changed,
        "stack": brought.manifest.stack,
        "counter": brought.manifest.counter,
        "complete": brought.complete,
        "packages": brought.packages or "",
        "runtime": brought.runtime or "",
        "pulled": list(brought.pulled.changes) if brought.pulled else [],
        "bytes": brought.synced.plan.bytes_to_copy,
        "bytes_pulled": brought.pulled.bytes if brought.pulled else 0,
    }
    there = brought.complete and not (module.check_mode and brought.synced.changed)
    return {**result, "release": release_result(order.root, brought)} if there else result


def tell(module: AnsibleModule, refusal: DepotError) -> None:
    """Write a receipt of a refusal, so that whoever gets the stick back knows. What fails of that is only told."""
    try:
        written = report_refusal(read_order(module.params, False), refusal, int(time.time()))
    except DepotError as exc:
        module.warn(f"no receipt: {exc}")
        return
    for complaint in written.complaints if written else ():
        module.warn(complaint)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module)
    except DepotError as exc:
        if not module.check_mode:
            tell(module, exc)
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
