#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_sign
short_description: Sign what a depot is to hold
version_added: 0.1.0
description:
  - Signs a release that M(emorobcare.fleet.depot_write) has written, and returns the metadata that it publishes then.
  - Runs on the controller, where the keys are; they never leave it. What was signed before is kept beside them, so that
    every depot of the fleet gets the same metadata, and a depot that is older can be told from one that is not.
  - Warns if the root metadata ends before what is signed, and refuses (V(expired)) once it has expired.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Opens the keys, and signs nothing.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - Where nothing is new and nothing expires soon, nothing is signed.
requirements:
  - On the controller the Python packages C(tuf) and C(cryptography).
options:
  keys:
    description:
      - Folder of the fleet's keys on the controller, which M(emorobcare.fleet.depot_key) made.
    type: path
    required: true
  passphrases:
    description:
      - Passphrases by name of key.
    type: dict
    default: {}
  state:
    description:
      - V(known) only tells what was published.
      - V(signed) signs O(manifest), or renews what expires soon.
    type: str
    choices:
      - known
      - signed
    default: signed
  manifest:
    description:
      - The release manifest in base64, as M(emorobcare.fleet.depot_write) returned it. Without it metadata is renewed
        where it expires soon.
    type: str
  keep:
    description:
      - How many releases of a stack depots go on naming, the new one included.
    type: int
    default: 3
  refresh:
    description:
      - Whether to renew snapshot and timestamp although they do not expire soon.
    type: bool
    default: false
  resign:
    description:
      - Whether to go on from targets that were signed by keys which were replaced since, and to sign them with the new
        ones. Somebody who has the old keys may have signed such targets. Look at what they name first.
      - Without it they are refused (V(unsigned)). With O(state=known), too.
    type: bool
    default: false
  expiry_days:
    description:
      - Days until metadata expires, by role, C(targets), C(snapshot), C(timestamp). A depot that robots are to take for
        a year needs that long.
    type: dict
    default: {}
seealso:
  - module: emorobcare.fleet.depot_key
  - module: emorobcare.fleet.depot_write
"""

EXAMPLES = r"""
- name: Sign the release
  emorobcare.fleet.depot_sign:
    keys: ~/fleet-keys
    passphrases: "{{ vault_fleet_key_passphrases }}"
    manifest: "{{ written.target.manifest }}"
  register: signed

- name: Publish it
  emorobcare.fleet.depot_write:
    depot: /media/usb
    state: published
    metadata: "{{ signed.metadata }}"
"""

RETURN = r"""
first_root:
  description: The fleet's first root metadata in base64, by which its depots are known; V(none) before there is one.
  type: str
  returned: success
metadata:
  description: Files of metadata in base64 by name, in the order in which they must be written.
  type: dict
  returned: success
targets:
  description: SHA-256 and length of the release manifests that are signed, by path.
  type: dict
  returned: success
manifests:
  description: The newest release manifest of each stack in base64.
  type: dict
  returned: success
reason:
  description: Why nothing was signed.
  type: str
  returned: failure
  sample: key_missing
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "keys": {"type": "path", "required": True, "no_log": False},  # the place of a folder
    "passphrases": {"type": "dict", "default": {}, "no_log": True},
    "state": {"type": "str", "choices": ["known", "signed"], "default": "signed"},
    "manifest": {"type": "str"},
    "keep": {"type": "int", "default": 3},
    "refresh": {"type": "bool", "default": False},
    "resign": {"type": "bool", "default": False},
    "expiry_days": {"type": "dict", "default": {}},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.fail_json(msg="emorobcare.fleet.depot_sign runs on the controller alone, as the action of the same name")


if __name__ == "__main__":
    main()
