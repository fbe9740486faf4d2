#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_runtime
short_description: Make a host its own controller from a depot, without a network
version_added: 0.1.0
description:
  - Makes a Python environment with Ansible and this collection below O(dest), from the files of a runtime that
    M(emorobcare.fleet.depot_runtime_build) wrote, and turns the link C(current) to it. From then on
    C(DEST/current/bin/ansible-playbook) runs on the host itself.
  - The host needs Debian's C(python3) and nothing else, no pip and no network. Every wheel is checked against the lock
    file.
  - An environment is called by the digest of the runtime and the host's version of Python. One that is there already is
    left alone; after an upgrade of the system a new one is made.
  - The link turns when all of the new environment is on the disk. A power cut leaves the old one current, and the next
    run begins anew.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  source:
    description:
      - Folder on the host with the runtime, copied from a depot and checked.
    type: path
    required: true
  dest:
    description:
      - Folder for environments.
    type: path
    default: /opt/fleet
  python:
    description:
      - The Python that the environment is made with. ansible-core 2.20 needs 3.12 or later, which Debian 13 has.
    type: path
    default: /usr/bin/python3
  keep:
    description:
      - How many environments stay, the current one included. The one before may still run.
    type: int
    default: 2
notes:
  - Must run as a user who may write to O(dest), usually root.
"""

EXAMPLES = r"""
- name: Make the robot its own controller
  emorobcare.fleet.depot_runtime:
    source: /var/lib/fleet/runtime
"""

RETURN = r"""
path:
  description: The environment.
  returned: success
  type: str
  sample: /opt/fleet/2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f
id:
  description: Digest of the runtime and the version of Python.
  returned: success
  type: str
  sample: 2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f
python:
  description: Version of the Python.
  returned: success
  type: str
  sample: "3.13"
made:
  description: Whether the environment was made, or would be in check mode. If not, it was there.
  returned: success
  type: bool
bytes_needed:
  description: About how many bytes the environment has; 0 if it was there.
  returned: success
  type: int
  sample: 120000000
removed:
  description: Environments that were removed because of O(keep) or were unfinished, or would be in check mode.
  returned: success
  type: list
  elements: str
reason:
  description: Why the task was refused or failed, as one word for automation.
  returned: failure
  type: str
  choices:
    - invalid
    - unsafe_path
    - wrong_hardware
    - blob_missing
    - blob_corrupt
    - no_space
    - locked
    - library_missing
    - io_error
  sample: blob_missing
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_run import Runner, by_module
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime import CURRENT, Runtime, read_runtime
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime_make import (
    check_room,
    current_id,
    is_done,
    make,
    needed_bytes,
    python_version,
    stale_ids,
    turn_to,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import digests_below
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import locked, make_dirs, remove

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "source": {"type": "path", "required": True},
    "dest": {"type": "path", "default": "/opt/fleet"},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "keep": {"type": "int", "default": 2},
}

_PATIENCE = 600.0  # seconds that another run may take


def carry_out(params: dict[str, t.Any], runtime: Runtime, version: str, stale: list[str], run: Runner) -> None:
    """Make the environment if it is not there, turn to it, and remove those that are not kept."""
    dest, name = params["dest"], runtime.id(version)
    make_dirs(dest)
    with locked(os.path.join(dest, ".lock"), _PATIENCE):
        if not is_done(dest, name):
            make(params["source"], dest, runtime, params["python"], version, run)
        if current_id(dest) != name:
            turn_to(dest, name)
        for one in stale:
            remove(os.path.join(dest, one))


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, plan, refuse what cannot work (in check mode too), carry out."""
    params = {**module.params, "source": os.path.abspath(module.params["source"])}
    dest = params["dest"] = os.path.abspath(module.params["dest"])
    if params["keep"] < 1:
        raise DepotError(f"keep is {params['keep']}, and at least the current one stays: 1 or more", reason="invalid")

    execute = by_module(module.run_command)
    runtime = read_runtime(digests_below(params["source"]), params["source"])
    version = python_version(params["python"], execute)
    name, before = runtime.id(version), current_id(dest)
    made = not is_done(dest, name)
    stale = stale_ids(dest, name, params["keep"])
    needed = needed_bytes(params["source"], runtime) if made else 0
    check_room(dest, needed)
    changed = made or before != name or bool(stale)
    if changed and not module.check_mode:
        carry_out(params, runtime, version, stale, execute)
    link = os.path.join(dest, CURRENT)
    return {
        "changed": changed,
        "path": os.path.join(dest, name),
        "id": name,
        "python": version,
        "made": made,
        "bytes_needed": needed,
        "removed": stale,
        "diff": {"before_header": link, "after_header": link, "before": f"{before}\n", "after": f"{name}\n"},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module)
    except DepotError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    except ModelError as exc:  # the lock's
        module.fail_json(msg=str(exc), reason=exc.reason)
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename or module.params['dest']}: {exc.strerror}", reason="io_error")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
