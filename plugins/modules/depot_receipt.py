#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_receipt
short_description: Report what became of a release that a depot brought
version_added: 0.1.0
description:
  - Writes a receipt to the host, and to the depot where that is a folder that can be written. It says what the host
    holds and runs, and is signed with the host's own key.
  - A release that was committed is remembered, so that no older one is accepted from then on.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
  - emorobcare.fleet._depot
attributes:
  check_mode:
    support: full
    details:
      - Writes nothing.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each run is a report of its own. It counts as a change only when it reports something new.
options:
  stack:
    description:
      - The stack whose release was brought last by M(emorobcare.fleet.depot_sync).
    type: str
    required: true
  state:
    description:
      - Whether the release was committed, or failed and the host runs what it ran before.
    type: str
    choices:
      - committed
      - failed
    required: true
  gate:
    description:
      - The gate's rows, as M(emorobcare.fleet.stack_release) returns them.
    type: list
    elements: dict
    default: []
  failure:
    description:
      - With O(state=failed), the reason.
    type: str
    default: ""
  root:
    description:
      - Folder of the host store.
    type: path
    default: /var/lib/fleet
seealso:
  - module: emorobcare.fleet.depot_receipt_info
"""

EXAMPLES = r"""
- name: Report
  emorobcare.fleet.depot_receipt:
    depot: /media/usb
    stack: emorobcare
    state: committed
    gate: "{{ deployed.gate }}"
"""

RETURN = r"""
receipt:
  description: Path of the receipt below the folder of receipts.
  type: str
  returned: success, but in check mode
  sample: robot-7/4.json
digests:
  description: How many blobs the host holds.
  type: int
  returned: success, but in check mode
reason:
  description: Why there is no receipt.
  type: str
  returned: failure
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_bring import Order, last_brought
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_report import Report, report
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import accept
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import default_cli

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "depot": {"type": "str", "required": True},
    "stack": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["committed", "failed"], "required": True},
    "gate": {"type": "list", "elements": "dict", "default": []},
    "failure": {"type": "str", "default": ""},
    "root": {"type": "path", "default": "/var/lib/fleet"},
    "ca_path": {"type": "path"},
    "trust_anchor": {"type": "path", "default": "/etc/fleet/trust"},
    "trust_state": {"type": "path", "default": "/var/lib/fleet/trust"},
    "lock_timeout": {"type": "float", "default": 60},
}


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Remember first: a receipt is worth less than not going back."""
    params = module.params
    places = TrustPlaces(params["trust_anchor"], params["trust_state"])
    manifest = last_brought(places, params["stack"])
    order = Order(params["depot"], params["root"], params["stack"], places=places, lock_timeout=params["lock_timeout"])
    if module.check_mode:
        return {"changed": False}
    if params["state"] == "committed":
        accept(places, manifest, params["lock_timeout"])
    told = Report(manifest, params["state"], params["gate"], params["failure"])
    written = report(order, told, default_cli(()), int(time.time()))
    for complaint in written.complaints:
        module.warn(complaint)
    return {"changed": written.new, "receipt": written.path, "digests": len(written.receipt.digests)}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module)
    except DepotError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
