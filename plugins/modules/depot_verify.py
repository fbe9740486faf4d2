#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_verify
short_description: Check a depot, and change nothing
version_added: 0.1.0
description:
  - Verifies the depot's metadata as the host was enrolled to trust it, then the size and the digest of everything that
    its releases are made of, on all processors. All that is wrong is reported at once, by file.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
  - emorobcare.fleet._depot
attributes:
  check_mode:
    support: full
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
      - Only what this stack needs. By default everything.
    type: str
  counter:
    description:
      - With O(stack), only what this release needs.
    type: int
  strict:
    description:
      - Whether files that nothing in the depot names are wrong, too.
    type: bool
    default: false
seealso:
  - module: emorobcare.fleet.depot_sync
"""

EXAMPLES = r"""
- name: See whether the stick is whole
  emorobcare.fleet.depot_verify:
    depot: /media/usb
"""

RETURN = r"""
releases:
  description: The releases that were checked, as stack and counter, such as V(shop/3).
  type: list
  elements: str
  returned: success
blobs:
  description: How many blobs are right.
  type: int
  returned: success
bytes:
  description: How many bytes were read.
  type: int
  returned: success
elsewhere:
  description: How many blobs other volumes have.
  type: int
  returned: success
extra:
  description: Files that nothing in the depot names.
  type: list
  elements: str
  returned: success
expires:
  description: When the depot's metadata expires, in seconds since 1970.
  type: int
  returned: success
problems:
  description: What is wrong, with C(kind), C(file), C(name) and C(text).
  type: list
  elements: dict
  returned: failure, when blobs are wrong
reason:
  description: What the depot was refused for; see C(docs/depot-format.md).
  type: str
  returned: failure
  sample: blob_corrupt
"""

import contextlib
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Source, check_layout
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import (
    Trusted,
    open_depot,
    read_release,
    releases_here,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import verify
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_web import open_source

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "depot": {"type": "str", "required": True},
    "stack": {"type": "str"},
    "counter": {"type": "int"},
    "strict": {"type": "bool", "default": False},
    "ca_path": {"type": "path"},
    "trust_anchor": {"type": "path", "default": "/etc/fleet/trust"},
    "trust_state": {"type": "path", "default": "/var/lib/fleet/trust"},
    "lock_timeout": {"type": "float", "default": 60},
}


def chosen(source: Source, trusted: Trusted, stack: str | None, counter: int | None) -> list[Manifest]:
    """Return the manifests of the releases to check.

    Raises:
        DepotError: the depot has none of that stack, or not that one.
    """
    if stack is not None and stack not in trusted.releases():
        raise DepotError(
            f"{trusted.shown} has no release of stack {stack!r}; there is {', '.join(trusted.releases()) or 'none'}",
            reason="no_release",
        )
    if stack is not None and counter is not None:
        return [read_release(source, trusted, stack, counter)]
    return releases_here(source, trusted, stack)


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    places = TrustPlaces(params["trust_anchor"], params["trust_state"])
    with contextlib.closing(open_source(params["depot"], params["ca_path"])) as source:
        trusted = open_depot(source, places, time.time, params["lock_timeout"])
        manifests = chosen(source, trusted, params["stack"], params["counter"])
        verified = verify(source, manifests, check_layout(source), strict=params["strict"])
    verified.check()
    return {
        "changed": False,
        "releases": [f"{manifest.stack}/{manifest.counter}" for manifest in manifests],
        "blobs": verified.blobs,
        "bytes": verified.bytes_read,
        "elsewhere": verified.elsewhere,
        "extra": list(verified.extra),
        "expires": trusted.expires,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, required_by={"counter": ("stack",)}, supports_check_mode=True)
    try:
        result = run(module)
    except DepotError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
