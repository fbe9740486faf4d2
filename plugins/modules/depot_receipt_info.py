#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_receipt_info
short_description: Read what hosts reported on a depot
version_added: 0.1.0
description:
  - Reads the receipts that hosts wrote to a depot, and believes those that are signed by the keys that are given.
  - Says which blobs every host holds, for a depot that leaves them out.
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
requirements:
  - C(ssh-keygen).
options:
  depot:
    description:
      - The depot, or another folder with receipts in C(receipts/<host>/<n>.json).
    type: path
    required: true
  keys:
    description:
      - Folder on the controller with the public keys of hosts, each in C(<host>.pub), as the role
        P(emorobcare.fleet.depot#role) keeps them. Receipts of other hosts are not believed.
    type: path
  public_keys:
    description:
      - Public keys by host. It is filled in on the controller from O(keys).
    type: dict
    default: {}
  hosts:
    description:
      - Hosts that RV(held) is about. Each must have a receipt that is believed.
    type: list
    elements: str
    default: []
  dest:
    description:
      - Folder to keep the receipts in that are believed, in the same form, but for those that are older than the newest
        one of their host there. Without it they are only read.
    type: path
"""

EXAMPLES = r"""
- name: See what the robots said
  emorobcare.fleet.depot_receipt_info:
    depot: /media/usb
    keys: ~/fleet-keys/hosts
  register: told
"""

RETURN = r"""
receipts:
  description:
    - The newest receipt of each host that is believed. One from a clock that is known to be wrong, as it is of a later
      day than this machine's, counts only where there is no other.
  type: list
  elements: dict
  returned: success
  contains:
    host:
      description: The host.
      type: str
    time:
      description: When it was written, in seconds since 1970, by the host's clock.
      type: int
    releases:
      description: By stack C(id), C(counter), C(state), C(gate) and, of a failure, C(reason).
      type: dict
    digests:
      description: How many blobs the host holds.
      type: int
    refused:
      description: C(reason) and C(message), where the host refused the depot that it was given last.
      type: dict
lines:
  description: What the receipts say, in lines for people.
  type: list
  elements: str
  returned: success
refused:
  description: Receipts that are not believed, and why.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The file.
      type: str
    why:
      description: In words.
      type: str
held:
  description: SHA-256 of what every host of O(hosts) holds.
  type: list
  elements: str
  returned: success
reason:
  description: Why they could not be read.
  type: str
  returned: failure
"""

import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import RECEIPTS
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_receipt import (
    Receipt,
    Signed,
    held_by_all,
    is_genuine,
    newest_of,
    not_before,
    read_receipts,
    write_receipt,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "depot": {"type": "path", "required": True},
    "keys": {"type": "path", "no_log": False},  # the place of a folder
    "public_keys": {"type": "dict", "default": {}, "no_log": False},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "dest": {"type": "path"},
}


def sort_out(receipts: t.Sequence[Signed], keys: t.Mapping[str, str]) -> tuple[list[Signed], list[dict[str, str]]]:
    """Return the receipts that are believed, and why the others are not."""
    believed, refused = [], []
    for signed in receipts:
        key = keys.get(signed.receipt.host)
        if key is None:
            refused.append({"path": signed.path, "why": f"no key of host {signed.receipt.host!r} is known"})
        elif not is_genuine(signed, key):
            refused.append({"path": signed.path, "why": f"it is not signed by the key of {signed.receipt.host!r}"})
        else:
            believed.append(signed)
    return believed, refused


def keep(dest: str, receipts: t.Sequence[Signed], now: float, check_mode: bool) -> bool:
    """Keep those that are not there yet; return whether there were any.

    Those that are older than the newest one there were there before, or tell what nobody needs any more: an old stick
    must not push the newer ones out.

    Raises:
        DepotError: the folder cannot be written (`io_error`).
    """
    kept = read_receipts(Folder(dest))
    known, newest = {signed.encode() for signed in kept}, newest_of((signed.receipt for signed in kept), now)
    new = [
        signed
        for signed in receipts
        if signed.encode() not in known
        and not_before(signed.receipt, newest.get(signed.receipt.host, signed.receipt), now)
    ]
    try:
        for signed in [] if check_mode else new:
            write_receipt(os.path.join(dest, RECEIPTS), signed)
    except OSError as exc:
        raise DepotError(f"{exc.filename or dest}: {exc.strerror}", reason="io_error") from exc
    return bool(new)


def lines(receipt: Receipt) -> t.Iterator[str]:
    """Return what a receipt says, for people."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(receipt.time))
    for stack, entry in sorted(receipt.releases.items()):
        reason = f" ({entry['reason']})" if entry.get("reason") else ""
        yield f"{receipt.host}: {stack} release {entry.get('counter')} {entry.get('state')}{reason}, {when}"
    if receipt.refused:
        refused = receipt.refused
        yield f"{receipt.host}: REFUSED a depot ({refused.get('reason')}), {when}: {refused.get('message')}"


def told_refused(refused: t.Mapping[str, str]) -> str:
    return f"NOT believed: {refused['path']}: {refused['why']}"


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params, now = module.params, time.time()
    believed, refused = sort_out(read_receipts(Folder(params["depot"])), params["public_keys"])
    changed = bool(params["dest"]) and keep(params["dest"], believed, now, module.check_mode)
    receipts = [one.receipt for one in believed]
    newest = [receipt for _host, receipt in sorted(newest_of(receipts, now).items())]
    return {
        "changed": changed,
        "receipts": [
            {
                "host": one.host,
                "time": one.time,
                "releases": {stack: dict(entry) for stack, entry in one.releases.items()},
                "digests": len(one.digests),
                "refused": dict(one.refused),
            }
            for one in newest
        ],
        "lines": [*(line for one in newest for line in lines(one)), *(told_refused(one) for one in refused)],
        "refused": refused,
        "held": sorted(held_by_all(receipts, params["hosts"], now)),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module)
    except DepotError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
