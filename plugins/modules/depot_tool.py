#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_tool
short_description: Enrol a host, and put the commands on it that verify and apply depots
version_added: 0.1.0
description:
  - Writes C(fleet-depot) and C(fleet-apply), made of this collection's own code and of the libraries that the
    controller has, and the fleet's root of trust. From then on the host needs nothing but a depot.
  - This is what makes a host trust depots. So it comes from the controller, which is trusted, and never from a depot.
  - Makes the host's own key, which signs its receipts.
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
      - Tells digests of files, and what the host is enrolled as.
  idempotent:
    support: full
requirements:
  - On the host Python 3.10 or later and C(ssh-keygen).
  - On the controller the Python package C(tuf).
options:
  keys:
    description:
      - Folder of the fleet's keys on the controller, which M(emorobcare.fleet.depot_key) made. Only the root metadata
        in it (C(<n>.root.json)) is read.
    type: path
    required: true
  fleet:
    description:
      - Name of the fleet. Releases of other fleets are refused.
    type: str
    required: true
  host:
    description:
      - What the host is called in receipts.
    type: str
    required: true
  hardware:
    description:
      - Kinds of hardware that the host is, such as V(pi5). A release that names any is taken if it names one of these.
    type: list
    elements: str
    default: []
  forget:
    description:
      - Whether to forget what the host has accepted. Only where the fleet began anew with other keys, or where the
        host's state was lost; until the next depot, older ones would be accepted.
    type: bool
    default: false
  now:
    description:
      - The time on the controller, in seconds since 1970. It is filled in on the controller; from then on depots are
        refused while the host's clock is more than a day before it.
    type: int
  libraries:
    description:
      - Path on the host of the archive of libraries. It is filled in on the controller.
    type: path
  libraries_sha256:
    description:
      - Its digest. It is filled in on the controller.
    type: str
  metadata:
    description:
      - Each root metadata in base64, the oldest first. By those before the newest the host tells what it has accepted
        from keys that were replaced since. It is filled in on the controller.
    type: list
    elements: str
  folder:
    description:
      - Where the program and its libraries go. Modules look for the libraries in the default one alone.
    type: path
    default: /usr/local/lib/fleet
  commands:
    description:
      - Where the commands go.
    type: path
    default: /usr/local/bin
  root:
    description:
      - Folder of the host store, for the commands.
    type: path
    default: /var/lib/fleet
  secrets_root:
    description:
      - Folder of secrets on the host, for the commands.
    type: path
    default: /etc/fleet/secrets
  trust_anchor:
    description:
      - Folder on the host with what it was enrolled with.
    type: path
    default: /etc/fleet/trust
  trust_state:
    description:
      - Folder on the host with what it has accepted.
    type: path
    default: /var/lib/fleet/trust
seealso:
  - module: emorobcare.fleet.depot_sync
"""

EXAMPLES = r"""
- name: Enrol the host
  emorobcare.fleet.depot_tool:
    keys: ~/fleet-keys
    fleet: robots
    host: "{{ inventory_hostname }}"
"""

RETURN = r"""
public_key:
  description: The host's own public key; empty in check mode before there is one.
  type: str
  returned: success
program:
  description: The program.
  type: str
  returned: success
needs_libraries:
  description: Whether the host lacks the archive of libraries.
  type: bool
  returned: success
reason:
  description: Why the host could not be enrolled.
  type: str
  returned: failure
"""

import base64
import binascii
import os
import stat
import typing as t
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_command
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_library import LIBRARY
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_receipt import make_key
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_report import HOST_KEY
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import (
    Enrolment,
    TrustPlaces,
    check_root,
    enrol,
    read_accepted,
    read_enrolment,
    read_root,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import read_file, write_file, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs
from ansible_collections.emorobcare.fleet.plugins.module_utils._zipapp import (
    interpreter,
    loaded_source,
    pack,
    sources_of,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "keys": {"type": "path", "required": True, "no_log": False},  # the place of a folder
    "fleet": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "hardware": {"type": "list", "elements": "str", "default": []},
    "forget": {"type": "bool", "default": False},
    "now": {"type": "int"},
    "libraries": {"type": "path"},
    "libraries_sha256": {"type": "str"},
    "metadata": {"type": "list", "elements": "str"},
    "folder": {"type": "path", "default": "/usr/local/lib/fleet"},
    "commands": {"type": "path", "default": "/usr/local/bin"},
    "root": {"type": "path", "default": "/var/lib/fleet"},
    "secrets_root": {"type": "path", "default": "/etc/fleet/secrets", "no_log": False},
    "trust_anchor": {"type": "path", "default": "/etc/fleet/trust"},
    "trust_state": {"type": "path", "default": "/var/lib/fleet/trust"},
}

PROGRAM = "fleet-depot.pyz"
_LIBRARIES = os.path.basename(LIBRARY)
_ENROLMENT_STANDS = 90 * 86_400  # seconds


@dataclass(frozen=True)
class File:
    """A file as it is to be."""

    path: str
    content: bytes
    mode: int

    def is_there(self) -> bool:
        found = read_file(self.path)
        return found == self.content and stat.S_IMODE(os.stat(self.path).st_mode) == self.mode


def make_program(params: t.Mapping[str, t.Any]) -> bytes:
    """Return the program for these folders, packed from what Ansible sent with this module (see recover_tool)."""
    name = _depot_command.__name__.rpartition(".")[2]
    root, secrets_root, library = params["root"], params["secrets_root"], os.path.join(params["folder"], _LIBRARIES)
    start = (
        f"import sys\n\nfrom {_depot_command.__name__} import main\n"
        f"from {TrustPlaces.__module__} import TrustPlaces\n\n"
        f"places = TrustPlaces({params['trust_anchor']!r}, {params['trust_state']!r})\n"
        f"raise SystemExit(main(sys.argv[1:], {root!r}, {secrets_root!r}, places, {library!r}))\n"
    )
    return pack(sources_of(name, loaded_source), start, interpreter())


def wanted_files(params: t.Mapping[str, t.Any]) -> list[File]:
    """Return the program and the commands that call it."""
    program = os.path.join(params["folder"], PROGRAM)
    files = [File(program, make_program(params), 0o755)]
    for name, words in (("fleet-depot", ""), ("fleet-apply", "apply ")):
        script = f'#!/bin/sh\nexec {program} {words}"$@"\n'.encode()
        files.append(File(os.path.join(params["commands"], name), script, 0o755))
    return files


def needs_libraries(params: t.Mapping[str, t.Any]) -> bool:
    found = read_file(os.path.join(params["folder"], _LIBRARIES))
    return found is None or digest(found) != params["libraries_sha256"]


def take_libraries(params: t.Mapping[str, t.Any]) -> None:
    """Put the archive that came with this run in its place.

    Raises:
        DepotError: it is not what the controller sent.
    """
    content = read_file(params["libraries"] or "")
    if content is None or digest(content) != params["libraries_sha256"]:
        raise DepotError("the archive of libraries did not arrive as it was sent; run again", reason="library_missing")
    write_file(os.path.join(params["folder"], _LIBRARIES), content, 0o644)


def read_metadata(params: t.Mapping[str, t.Any]) -> tuple[list[bytes], bytes]:
    """Return the root metadata before the newest, oldest first, and the newest.

    Raises:
        DepotError: it did not come from the controller.
    """
    try:
        *earlier, newest = (base64.b64decode(one, validate=True) for one in params["metadata"] or [""])
    except (binascii.Error, ValueError) as exc:
        raise DepotError(f"metadata is not base64: {exc}", reason="invalid") from exc
    return earlier, newest


def enrolled(places: TrustPlaces) -> Enrolment | None:
    """Return what the host is enrolled as; None if it is not, or if that cannot be read."""
    try:
        return read_enrolment(places)
    except DepotError:
        return None


def wanted_enrolment(params: t.Mapping[str, t.Any], before: Enrolment | None) -> Enrolment:
    """Return what the host is to be enrolled as. When that was done first stays for a while, so that nothing changes.

    Later it is brought up to date, for the host's clock is believed for some years after it only.
    """
    hardware = tuple(sorted(set(params["hardware"])))
    wanted = Enrolment(params["fleet"], hardware, params["host"], params["now"] or 0)
    same = before and (before.fleet, before.hardware, before.host) == (wanted.fleet, wanted.hardware, wanted.host)
    recent = before is not None and wanted.built - before.built < _ENROLMENT_STANDS
    return before if before and same and recent and not params["forget"] else wanted


def must_enrol(places: TrustPlaces, before: Enrolment | None, wanted: Enrolment, metadata: bytes) -> bool:
    """Whether the host is to be enrolled.

    Raises:
        DepotError: it was, and what it has accepted since is lost (`state_lost`), or is newer than the root (`older`).
    """
    if before is None:
        return True
    try:
        read_accepted(places)
    except DepotError as exc:
        if exc.reason != "state_lost":
            raise
        raise DepotError(
            f"{places.accepted} is missing or torn, so it is not known what this host has accepted. If you know that "
            "no older depot will be given to it, enrol it again with fleet_forget=true (depot_forget of the role)",
            reason="state_lost",
        ) from exc
    check_root(places, metadata)
    return before != wanted or read_root(places) != metadata


def shown(enrolment: Enrolment | None) -> dict[str, t.Any]:
    if enrolment is None:
        return {"enrolled": False}
    return {"fleet": enrolment.fleet, "host": enrolment.host, "hardware": list(enrolment.hardware)}


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, tell, carry out."""
    params = module.params
    forget, places = params["forget"], TrustPlaces(params["trust_anchor"], params["trust_state"])
    (earlier, metadata), before = read_metadata(params), enrolled(places)
    enrolment = wanted_enrolment(params, before)
    lacking = [file for file in wanted_files(params) if not file.is_there()]
    libraries, enrolling = needs_libraries(params), forget or must_enrol(places, before, enrolment, metadata)
    key = os.path.join(places.state, HOST_KEY)
    changed = bool(lacking or libraries or enrolling or not os.path.exists(key))
    if not module.check_mode and not (libraries and not params["libraries"]):
        with writing("the commands"):
            for folder in (params["folder"], params["commands"]):
                make_dirs(folder)
            if libraries:
                take_libraries(params)
            for file in lacking:
                write_file(file.path, file.content, file.mode)
        if enrolling:
            enrol(places, metadata, enrolment, forget=forget, earlier=earlier)
        make_key(key, params["host"])
    return {
        "changed": changed,
        "program": os.path.join(params["folder"], PROGRAM),
        "needs_libraries": libraries,
        "public_key": (read_file(f"{key}.pub") or b"").decode("ascii").strip(),
        "diff": {
            "before": {**shown(before), "files": []},
            "after": {**shown(enrolment), "files": [f"{file.path} {digest(file.content)}" for file in lacking]},
        },
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module)
    except (DepotError, ReleaseError) as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
