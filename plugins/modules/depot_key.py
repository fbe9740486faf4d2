#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_key
short_description: Make and replace the keys that sign a fleet's depots
version_added: 0.1.0
description:
  - Makes the keys that are missing in a folder of the controller, and the root metadata that says which of them sign
    for what. Hosts are enrolled with it, and trust nothing else.
  - Makes the next root metadata when keys are replaced. It is signed by enough of the old root keys and of the new
    ones, so that hosts follow by themselves from the next depot on.
  - Private keys may be kept elsewhere. Only those that must sign are needed in the folder, and only while they do.
  - Runs on the controller. No private key ever leaves it.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Refuses whatever the real run would refuse, and makes nothing.
  diff_mode:
    support: full
    details:
      - Shows what is public only.
  idempotent:
    support: partial
    details:
      - O(rotate) and O(renew) make another root metadata each time.
options:
  path:
    description:
      - Folder of the fleet's keys on the controller. It is created with mode 0700.
      - A key called V(root-1) is F(root-1.pem) (private, Ed25519, PKCS#8, mode 0600) and F(root-1.pub). Instead of the
        former there may be F(root-1.uri) with where the private key is, such as V(hsm:2), as securesystemslib reads it.
      - F(1.root.json), F(2.root.json) and so on are the root metadata. The newest is what hosts are enrolled with.
    type: path
    required: true
  state:
    description:
      - V(present) makes what is missing. Once there is root metadata, that is nothing. Private keys that it names may
        be elsewhere.
    type: str
    choices: [present]
    default: present
  counts:
    description:
      - How many keys each role has in the first root metadata.
    type: dict
    suboptions:
      root:
        description:
          - Of the role that says which keys there are.
        type: int
        default: 3
      targets:
        description:
          - Of the role that signs releases.
        type: int
        default: 1
      snapshot:
        description:
          - Of the role that signs which metadata belongs together.
        type: int
        default: 1
      timestamp:
        description:
          - Of the role that signs what is newest.
        type: int
        default: 1
  thresholds:
    description:
      - How many of its keys must sign for each role, in the first root metadata.
    type: dict
    suboptions:
      root:
        description:
          - Of the role that says which keys there are.
        type: int
        default: 2
      targets:
        description:
          - Of the role that signs releases.
        type: int
        default: 1
      snapshot:
        description:
          - Of the role that signs which metadata belongs together.
        type: int
        default: 1
      timestamp:
        description:
          - Of the role that signs what is newest.
        type: int
        default: 1
  expiry_days:
    description:
      - Days for which root metadata is good from when it is made. Hosts take no depot after that.
    type: int
    default: 730
  passphrases:
    description:
      - Passphrases by name of key, such as C(root-1), of those that are encrypted or are to be. For a device, its PIN.
      - A key that is made without one is not encrypted. In place of a key that has one, none is made without.
    type: dict
    default: {}
  rotate:
    description:
      - A role of which all keys are replaced by new ones.
    type: str
    choices: [root, targets, snapshot, timestamp]
  revoke:
    description:
      - Id or name of a key that is replaced by a new one. One that was revoked before changes nothing.
    type: str
  renew:
    description:
      - Make the next root metadata with the same keys, because this one expires.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Make the keys of a fleet
  emorobcare.fleet.depot_key:
    path: ~/fleet-keys
    passphrases: "{{ vault_fleet_key_passphrases }}"

- name: Let two people sign each release
  emorobcare.fleet.depot_key:
    path: ~/fleet-keys
    counts: {targets: 3}
    thresholds: {targets: 2}

- name: Replace a key that was stolen
  emorobcare.fleet.depot_key:
    path: ~/fleet-keys
    revoke: targets-1
    passphrases: "{{ vault_fleet_key_passphrases }}"

- name: Replace the key of timestamps
  emorobcare.fleet.depot_key:
    path: ~/fleet-keys
    rotate: timestamp
"""

RETURN = r"""
path:
  description: Absolute path of the folder.
  returned: success
  type: str
root:
  description: Path of the newest root metadata. In check mode, where it would be.
  returned: success
  type: str
root_version:
  description: Version of the newest root metadata.
  returned: success
  type: int
expires:
  description: When it expires, for people.
  returned: success
  type: str
  sample: 2028-11-25 08:00:00 UTC
public_keys:
  description: The keys that it names.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What the key is called.
      type: str
      sample: root-1
    role:
      description: What it signs for.
      type: str
    keyid:
      description: Its id in metadata. In check mode, one that would be made has none yet.
      type: str
    private:
      description: Whether its private part is in the folder, or the folder says where it is.
      type: bool
advice:
  description: In lines for people, which private keys belong where.
  returned: success
  type: list
  elements: str
reason:
  description: Why the task was refused.
  returned: failure
  type: str
  sample: passphrase
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

_ROLES = ("root", "targets", "snapshot", "timestamp")


def _by_role(**numbers: int) -> dict[str, t.Any]:
    options = {role: {"type": "int", "default": numbers.get(role, 1)} for role in _ROLES}
    return {"type": "dict", "apply_defaults": True, "options": options}


ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present"], "default": "present"},
    "counts": _by_role(root=3),
    "thresholds": _by_role(root=2),
    "expiry_days": {"type": "int", "default": 730},
    "passphrases": {"type": "dict", "default": {}, "no_log": True},
    "rotate": {"type": "str", "choices": list(_ROLES)},
    "revoke": {"type": "str"},
    "renew": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.fail_json(msg="keys are made on the controller, by the action plugin of this name; call it in a task")


if __name__ == "__main__":
    main()
