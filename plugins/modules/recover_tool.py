#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: recover_tool
short_description: Put the command on a host that ends deployments which were cut off
version_added: 0.1.0
description:
  - Writes a program of one file that brings every stack of the host to rest, as the next run of
    M(emorobcare.fleet.stack_release) would. It goes back to the release that was committed when a deployment was cut
    off by a power cut or by a kill, and removes what a committed release replaced.
  - The program is made of this collection's own code. It needs Python 3.9 and Docker on the host, and neither Ansible
    nor a network; the role P(emorobcare.fleet.compose_deploy#role) has it run at boot by C(fleet-recover.service).
  - It prints a line for each stack, and ends with exit code 0 when all are at rest and with 1 when one is not. With
    C(--check) it only tells how the stacks are.
  - Values of secrets are masked in what it prints.
  - The same version of the collection gives the same file to the byte.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Tells digests of the file, not its content.
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) writes the program.
      - V(absent) removes it, unless a stack below O(root) still has a release or something under way; see RV(needed).
    type: str
    choices:
      - present
      - absent
    default: present
  path:
    description: The program. Its folder is created.
    type: path
    default: /usr/local/lib/fleet/fleet-recover.pyz
  root:
    description: Where releases and journals of the host are, for the program to look there.
    type: path
    default: /var/lib/fleet
  secrets_root:
    description: Where secrets of the host are, for the program to look there.
    type: path
    default: /etc/fleet/secrets
  besides:
    description:
      - With O(state=absent), a stack that needs the program no more, as the same play takes it off the host. In check
        mode its journal does not say so yet.
    type: str
    default: ""
seealso:
  - module: emorobcare.fleet.stack_release
"""

EXAMPLES = r"""
- name: Be able to recover without a controller
  emorobcare.fleet.recover_tool:

- name: See what it would do
  ansible.builtin.command:
    argv: [/usr/local/lib/fleet/fleet-recover.pyz, --check]
  changed_when: false
  failed_when: false
"""

RETURN = r"""
program:
  description: The program.
  type: str
  returned: always
  sample: /usr/local/lib/fleet/fleet-recover.pyz
sha256:
  description: Digest of the program, V(none) when it is not to be there.
  type: str
  returned: success
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
needed:
  description: With O(state=absent), the stacks that still need the program, which therefore stays.
  type: list
  elements: str
  returned: success
  sample: []
systemd:
  description: Whether systemd runs on the host, which could run the program at boot.
  type: bool
  returned: success
  sample: true
reason:
  description: Why it failed, V(write_failed).
  type: str
  returned: failure
"""

import os
import stat
import typing as t
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_recover
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import read_file, write_file, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_look import in_use
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, remove, sync_dir
from ansible_collections.emorobcare.fleet.plugins.module_utils._zipapp import (
    interpreter,
    loaded_source,
    pack,
    sources_of,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "path": {"type": "path", "default": "/usr/local/lib/fleet/fleet-recover.pyz"},
    "root": {"type": "path", "default": "/var/lib/fleet"},
    "secrets_root": {"type": "path", "default": "/etc/fleet/secrets", "no_log": False},
    "besides": {"type": "str", "default": ""},
}

_MODE = 0o755
_SYSTEMD = "/run/systemd/system"  # there where systemd is process 1; see sd_booted(3)


@dataclass(frozen=True)
class Program:
    """The program as it is, or is to be; without content it is not there."""

    content: bytes | None = None
    mode: int = _MODE

    @property
    def shown(self) -> dict[str, t.Any]:
        if self.content is None:
            return {"state": "absent"}
        return {"state": "present", "sha256": digest(self.content), "mode": f"0{self.mode:o}"}


def look(path: str) -> Program:
    content = read_file(path)
    return Program() if content is None else Program(content, stat.S_IMODE(os.stat(path).st_mode))


def make_program(root: str, secrets_root: str) -> Program:
    """Return the program for these folders.

    It is packed on the host, from what Ansible sent there with this module: so it is exactly the code that this version
    of the collection runs here, for the Python that it runs with, and no second way of copying can fail by itself. An
    action plugin would have to find out on the controller which Python that is, and send the code once more each time.
    """
    name = _release_recover.__name__.rpartition(".")[2]
    start = (
        f"import sys\n\nfrom {_release_recover.__name__} import main\n\n"
        f"raise SystemExit(main(sys.argv[1:], {root!r}, {secrets_root!r}))\n"
    )
    return Program(pack(sources_of(name, loaded_source), start, interpreter()))


def carry_out(path: str, wanted: Program) -> None:
    folder = os.path.dirname(path)
    with writing(f"the program {path}"):
        if wanted.content is not None:
            make_dirs(folder)
            write_file(path, wanted.content, wanted.mode)
            return
        remove(path)
        sync_dir(folder)
        if not os.listdir(folder):
            os.rmdir(folder)


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    path: str = params["path"]
    present = params["state"] == "present"
    needed = [] if present else in_use(params["root"], params["besides"])
    found = look(path)
    wanted = make_program(params["root"], params["secrets_root"]) if present else found if needed else Program()
    changed = wanted != found
    if changed and not module.check_mode:
        carry_out(path, wanted)
    return {
        "changed": changed,
        "program": path,
        "sha256": wanted.shown.get("sha256"),
        "needed": needed,
        "systemd": os.path.isdir(_SYSTEMD),
        "diff": {"before": {"path": path, **found.shown}, "after": {"path": path, **wanted.shown}},
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
