#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_write
short_description: Write a release of a stack into a depot, on the host that has its images and models
version_added: 0.1.0
description:
  - A depot is a folder, on a stick for example, from which hosts deploy without a network. This module writes into it
    what a release is made of, and publishes metadata that somebody has signed. It signs nothing, and needs no key.
  - With O(state=content) the release's document and files, its images, models and further files are brought into
    C(blobs/) below O(depot), as far as they are not there. RV(target) is what is to be signed then. Hosts see nothing
    of it yet.
  - With O(state=published) the signed metadata is written, C(timestamp.json) last. With that the depot becomes the new
    one. A run that is killed, and a stick that is pulled at any moment, leave the old depot or the new one.
  - Every blob is written under another name, made durable, read back from the medium and compared before it gets its
    name. The next run goes on with what an interrupted one has left.
  - Images are taken from the Docker engine of the host (its own store or containerd's), models from the store of
    O(root).
  - Layers are plain tar files by their diff id, so that what several releases share is there once, and is not written
    again. Images of which the depot has everything are not even asked of the engine.
  - Space is checked before anything is written. On FAT, blobs of more than 2 GiB are kept in parts.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Images that would be written are saved by the engine and measured, without keeping anything, because the engine
        does not say before how large their layers are.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - In the containerd store an image's id does not tell its configuration, so that images are saved and compared at
        every run. Nothing is written for that.
requirements:
  - the C(docker) command line, where O(images) is not empty
options:
  depot:
    description:
      - Folder of the depot. It is created if it is missing.
    type: path
    required: true
  state:
    description:
      - V(content) writes what the release is made of.
      - V(published) writes signed metadata.
    type: str
    choices:
      - content
      - published
    default: content
  release:
    description:
      - The release document, which the lookup P(emorobcare.fleet.stack#lookup) renders. Its models are taken from the
        store of O(root).
      - Required when O(state=content).
    type: dict
  id:
    description:
      - The SHA-256 of the document's canonical JSON, to be sure that it arrived as it was made.
    type: str
  files:
    description:
      - The files that the document lists, by path, in base64.
      - Required when O(state=content).
    type: dict
  images:
    description:
      - References of all images that the release runs, built and pulled ones, as its Compose files say them. None may
        have a digest (V(mongo:7@sha256:…)), because no engine takes an image from a depot under such a name.
      - Where O(architecture) is not the engine's own, the image with the architecture's suffix in its tag is taken, as
        M(emorobcare.fleet.image_build) makes it.
    type: list
    elements: str
    default: []
  pulled:
    description:
      - Those of O(images) that are not built. What to pull, by the reference that it gets, as the lookup
        P(emorobcare.fleet.stack#lookup) gives it. What is there is not pulled.
    type: dict
    default: {}
  fleet:
    description:
      - Name of the fleet that the release is for. Hosts of others refuse it.
      - Required when O(state=content).
    type: str
  architecture:
    description:
      - What processors the release is for, as Debian calls them.
      - Required when O(state=content).
    type: str
    choices:
      - amd64
      - arm64
      - armhf
  hardware:
    description:
      - Kinds of hosts that the release is for, by the names that they were enrolled with. Any, if empty.
    type: list
    elements: str
    default: []
  minimum_version:
    description:
      - Version of this collection that a host needs at least to take the release. This one, if not given.
    type: str
  packages:
    description:
      - Repositories for apt, folders on the host by the name of the suite. All files below go into the depot.
    type: dict
    default: {}
  runtime:
    description:
      - Folder on the host with what a controller needs besides Python. All files below go into the depot.
    type: path
  root:
    description:
      - Folder that holds the host's store of models.
    type: path
    default: /var/lib/fleet
  held:
    description:
      - SHA-256 of blobs that every host has which will get the depot, from their receipts. They are left out. Hosts
        that lack one of them refuse the depot with V(base_missing).
      - The release's document and files are never left out.
    type: list
    elements: str
    default: []
  created:
    description:
      - When the release was made, in seconds since 1970. Now, if not given.
      - Required when O(volumes) is more than 1, because all media must have the same manifest.
    type: int
  targets:
    description:
      - The releases that are signed so far, V([SHA-256, length]) by path, as whoever signs knows them. The release gets
        the number after the highest one of its stack.
      - Without it, the newest C(targets.json) of the depot is read to learn them. Nobody checks that it is signed, so
        that somebody who had the stick could have changed it. What hosts trust does not depend on that.
    type: dict
  manifests:
    description:
      - The newest release manifest that is signed, in base64 by stack, as M(emorobcare.fleet.depot_sign) returns them.
        With it, a release that is signed already is known as the same one on a stick that does not have it yet.
    type: dict
    default: {}
  part_size:
    description:
      - Largest size of a file, in bytes or with a unit (V(1GiB)), 2 GiB at most. Larger blobs are kept in parts.
      - By default what the file system of O(depot) takes.
    type: str
  volume:
    description:
      - Which of O(volumes) media is at O(depot), from 1. Only blobs of this one are written.
    type: int
    default: 1
  volumes:
    description:
      - Over how many media the depot is spread.
    type: int
    default: 1
  volume_size:
    description:
      - Bytes that each of several media takes, with a unit if you like (V(30GB)). They are filled one after the other,
        in the order of the release manifest.
      - Required when O(volumes) is more than 1 and O(state=content).
    type: str
  own_medium:
    description:
      - Refuse to begin a depot on the file system of C(/) or in memory, where the stick was most likely not mounted.
      - A depot that is there already is gone on with wherever it is.
    type: bool
    default: false
  first_root:
    description:
      - The fleet's first root metadata in base64, as M(emorobcare.fleet.depot_sign) returns it. A depot that has
        another one is another fleet's, and is refused (V(mixed)) before anything is written to it.
      - With O(state=published) it is the one in O(metadata).
    type: str
  take_over:
    description:
      - Replace another fleet's depot instead of refusing it. Its metadata goes before the new one is written, so that a
        run that is killed may leave a depot without a release. Run it again then.
    type: bool
    default: false
  verify_written:
    description:
      - Read everything back from the medium that was written.
    type: bool
    default: true
  verify_held:
    description:
      - Read all blobs that the depot has already, and write those again that are damaged. Without it, only their sizes
        are compared.
    type: bool
    default: false
  metadata:
    description:
      - Files of metadata by name, in base64, in the order in which they are to be written. C(timestamp.json) is the
        last one in any case.
      - Required when O(state=published).
    type: dict
  prune:
    description:
      - With O(state=published), remove all blobs afterwards that no release needs which the new metadata names.
    type: bool
    default: false
notes:
  - Must run as a user who may write to O(depot), usually root.
  - While images are packed they take their size in Ansible's C(remote_tmp), too.
seealso:
  - module: emorobcare.fleet.depot_sign
  - module: emorobcare.fleet.image_build
  - module: emorobcare.fleet.model_pull
"""

EXAMPLES = r"""
- name: Write a release of the shop to the stick
  emorobcare.fleet.depot_write:
    depot: /media/stick/depot
    release: "{{ stack.release.document }}"
    id: "{{ stack.release.id }}"
    files: "{{ stack.release.files }}"
    images:
      - shop/api:3072f3e9a6b984ac
      - shop/db:115a1a481aa37a9d
    fleet: hospital
    architecture: arm64
  register: written
  vars:
    stack: "{{ lookup('emorobcare.fleet.stack', '/srv/stacks/shop', environment='prod') }}"

- name: Sign it on the controller
  emorobcare.fleet.depot_sign:
    keys: ~/fleet-keys
    passphrases: "{{ vault_fleet_key_passphrases }}"
    manifest: "{{ written.target.manifest }}"
  register: signed
  when: written.target is not none

- name: Publish it
  emorobcare.fleet.depot_write:
    depot: /media/stick/depot
    state: published
    metadata: "{{ signed.metadata }}"
    prune: true

- name: Write the second of three sticks
  emorobcare.fleet.depot_write:
    depot: /media/stick/depot
    release: "{{ stack.release.document }}"
    files: "{{ stack.release.files }}"
    images: "{{ images }}"
    fleet: hospital
    architecture: arm64
    created: 1764158400
    volume: 2
    volumes: 3
    volume_size: 30GB
"""

RETURN = r"""
bytes:
  description: Bytes of the blobs that were missing, or would be written in check mode; of metadata with V(published).
  returned: success
  type: int
  sample: 90868376
blobs:
  description: How many blobs those are.
  returned: success
  type: int
  sample: 12
written:
  description:
    - Bytes that were written. It is less than RV(bytes) where an interrupted run had written some before.
  returned: success
  type: int
  sample: 90868376
absent:
  description: References of images that would be built or pulled first, so that nothing else can be told yet.
  returned: in check mode, where there are any
  type: list
  elements: str
  sample: [mongo:8.0]
target:
  description: What is to be signed; V(none) where the depot has this release already.
  returned: success with O(state=content)
  type: dict
  contains:
    path:
      description: Name of the target.
      type: str
      sample: releases/shop/7.json
    sha256:
      description: Digest of the release manifest.
      type: str
      sample: 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
    length:
      description: Its size in bytes.
      type: int
      sample: 4711
    manifest:
      description: The release manifest in base64, which M(emorobcare.fleet.depot_sign) takes.
      type: str
      sample: eyJhcmNoaXRlY3R1cmUiOiJhbWQ2NCJ9
manifest:
  description: What the release manifest says.
  returned: success with O(state=content)
  type: dict
  sample:
    fleet: hospital
    stack: shop
    counter: 7
    created: 1764158400
    release: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    content: 115a1a481aa37a9d115a1a481aa37a9d115a1a481aa37a9d115a1a481aa37a9d
    size: 190868376
    blobs: 31
    assumes: 4
volumes:
  description: How many media the release takes.
  returned: success with O(state=content)
  type: int
  sample: 1
corrupt:
  description: Blobs that the depot had and that were damaged (O(verify_held)).
  returned: success with O(state=content)
  type: list
  elements: str
  sample: []
files:
  description: Files that were written, or would be in check mode.
  returned: success with O(state=published)
  type: list
  elements: str
  sample: [index.json, depot.json, metadata/7.targets.json, metadata/7.snapshot.json, metadata/timestamp.json]
releases:
  description: The releases that the metadata names and this medium has.
  returned: success with O(state=published)
  type: list
  elements: str
  sample: [releases/shop/6.json, releases/shop/7.json]
pruned:
  description: Blobs that were removed, or would be in check mode.
  returned: success with O(state=published)
  type: list
  elements: str
  sample: []
bytes_freed:
  description: Their bytes.
  returned: success with O(state=published)
  type: int
  sample: 0
free:
  description: Bytes that are free on the medium afterwards; V(none) where its file system does not tell.
  returned: success
  type: int
  sample: 12884901888
medium:
  description: What the depot is on.
  returned: success
  type: dict
  contains:
    mount:
      description: Where it is mounted.
      type: str
      sample: /media/stick
    kind:
      description: Its file system.
      type: str
      sample: vfat
    part_size:
      description: Bytes after which a blob is kept in parts; V(none) without such a limit.
      type: int
      sample: 2147483648
reason:
  description:
    - Why the task was refused or failed, as one word for automation. Facts behind it are further values of the result.
  returned: failure
  type: str
  choices:
    - invalid
    - unsafe_path
    - older
    - mixed
    - manifest_invalid
    - blob_missing
    - blob_corrupt
    - no_space
    - read_only
    - locked
    - image_unavailable
    - io_error
  sample: no_space
"""

import base64
import binascii
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_gather import Wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_images import absent, fetch
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import PART_BYTES, is_sha256
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_medium import Medium, look_at_medium
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_publish import Published, publish
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import (
    ARCHITECTURES,
    VERSION,
    Manifest,
    content_id,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_routes import refuse_pinned
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_targets import told_targets
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_write import Share, Task, Written, write_content
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import decode_files, parse_document
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import in_bytes

_LEAST_PART = 1 << 20  # bytes; a part costs a name and a sync

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "depot": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["content", "published"], "default": "content"},
    "release": {"type": "dict"},
    "id": {"type": "str"},
    "files": {"type": "dict"},
    "images": {"type": "list", "elements": "str", "default": []},
    "pulled": {"type": "dict", "default": {}},
    "fleet": {"type": "str"},
    "architecture": {"type": "str", "choices": [*ARCHITECTURES]},
    "hardware": {"type": "list", "elements": "str", "default": []},
    "minimum_version": {"type": "str"},
    "packages": {"type": "dict", "default": {}},
    "runtime": {"type": "path"},
    "root": {"type": "path", "default": "/var/lib/fleet"},
    "held": {"type": "list", "elements": "str", "default": []},
    "created": {"type": "int"},
    "targets": {"type": "dict"},
    "manifests": {"type": "dict", "default": {}},
    "part_size": {"type": "str"},
    "volume": {"type": "int", "default": 1},
    "volumes": {"type": "int", "default": 1},
    "volume_size": {"type": "str"},
    "own_medium": {"type": "bool", "default": False},
    "first_root": {"type": "str"},
    "take_over": {"type": "bool", "default": False},
    "verify_written": {"type": "bool", "default": True},
    "verify_held": {"type": "bool", "default": False},
    "metadata": {"type": "dict"},
    "prune": {"type": "bool", "default": False},
}


def read_task(params: t.Mapping[str, t.Any], check_mode: bool, tmpdir: str) -> Task:
    """Check the options for writing content; return what they ask for.

    Raises:
        DepotError: one is out of its range, or they contradict each other (`invalid`).
    """
    if params["prune"]:
        raise DepotError(
            "prune goes with state=published only: first the new metadata, then the old content", reason="invalid"
        )
    share = read_share(params)
    if share.count > 1 and (share.size is None or params["created"] is None):
        raise DepotError(
            "volumes: a depot on several media needs volume_size, and created, which makes all of them the same "
            "release",
            reason="invalid",
        )
    part_size = size_option(params, "part_size")
    if part_size is not None and not _LEAST_PART <= part_size <= PART_BYTES:
        raise DepotError(
            f"part_size: {part_size} bytes is not allowed; from {_LEAST_PART} to {PART_BYTES} are", reason="invalid"
        )
    return Task(
        depot=params["depot"],
        wanted=read_wanted(params),
        targets=None if params["targets"] is None else told_targets(params["targets"]),
        manifests=read_base64(params, "manifests"),
        share=share,
        part_size=part_size,
        verify_written=params["verify_written"],
        verify_held=params["verify_held"],
        own_medium=params["own_medium"],
        first_root=None if params["first_root"] is None else decode(params["first_root"], "first_root"),
        take_over=params["take_over"],
        check_mode=check_mode,
        tmpdir=tmpdir,
    )


def read_wanted(params: t.Mapping[str, t.Any]) -> Wanted:
    """Check what the release is made of; return it.

    Raises:
        DepotError: the document, its files or a reference are not as they must be (`invalid`).
    """
    refuse_pinned(params["images"])
    odd = next((one for one in params["held"] if not is_sha256(one)), None)
    if odd is not None:
        raise DepotError(f"held: {odd!r} is no SHA-256 in lower-case hex", reason="invalid")
    try:
        release = parse_document(params["release"], params["id"])
        files = decode_files(release, params["files"])
    except ReleaseError as exc:
        raise DepotError(str(exc), reason="invalid") from exc
    return Wanted(
        release=release,
        files=files,
        images=tuple(params["images"]),
        fleet=params["fleet"],
        architecture=params["architecture"],
        minimum_version=params["minimum_version"] or VERSION,
        created=int(time.time()) if params["created"] is None else params["created"],
        hardware=tuple(params["hardware"]),
        root=params["root"],
        packages={suite: str(folder) for suite, folder in params["packages"].items()},
        runtime=params["runtime"],
        held=frozenset(params["held"]),
    )


def read_share(params: t.Mapping[str, t.Any]) -> Share:
    """Check which of how many media this is.

    Raises:
        DepotError: there is no such medium (`invalid`).
    """
    number, count = params["volume"], params["volumes"]
    if not 1 <= number <= count:
        raise DepotError(f"volume: {number} is not from 1 to {count}, which volumes says", reason="invalid")
    return Share(number, count, size_option(params, "volume_size") if count > 1 else None)


def size_option(params: t.Mapping[str, t.Any], name: str) -> int | None:
    """Return the bytes that an option asks for, in bytes or with a unit; None where it is not given.

    Raises:
        DepotError: it is no size (`invalid`).
    """
    text = params[name]
    try:
        return None if text is None else int(text) if text.isdigit() else in_bytes(text)
    except ValueError as exc:
        raise DepotError(f"{name}: {exc}; write bytes, or 2GiB", reason="invalid") from exc


def read_base64(params: t.Mapping[str, t.Any], option: str) -> dict[str, bytes]:
    """Return the files of an option by name.

    Raises:
        DepotError: one is not base64 (`invalid`).
    """
    return {name: decode(text, f"{option}: {name!r}") for name, text in params[option].items()}


def decode(text: str, what: str) -> bytes:
    """Return what is written in base64; `what` it is called in errors.

    Raises:
        DepotError: it is not base64 (`invalid`).
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise DepotError(f"{what} is not base64", reason="invalid") from None


def describe_written(done: Written) -> dict[str, t.Any]:
    """Return the result of writing content."""
    plan = done.plan
    target = plan.target
    return {
        "changed": plan.changed,
        "bytes": plan.bytes,
        "blobs": len(plan.missing),
        "written": done.written,
        "target": target and {**target.__dict__, "manifest": base64.b64encode(plan.manifest.encode()).decode()},
        "manifest": describe_manifest(plan.manifest),
        "volumes": plan.volumes,
        "corrupt": list(done.corrupt),
        "diff": {
            "before": {"release": describe_manifest(plan.before) if plan.before else None, "bytes_missing": plan.bytes},
            "after": {"release": describe_manifest(plan.manifest), "bytes_missing": 0},
        },
    }


def describe_manifest(manifest: Manifest) -> dict[str, t.Any]:
    return {
        "fleet": manifest.fleet,
        "stack": manifest.stack,
        "counter": manifest.counter,
        "created": manifest.created,
        "release": manifest.release,
        "content": content_id(manifest),
        "size": manifest.size,
        "blobs": len(manifest.blobs),
        "assumes": len(manifest.assumes),
    }


def describe_published(done: Published, metadata: t.Mapping[str, bytes], check_mode: bool) -> dict[str, t.Any]:
    """Return the result of publishing."""
    size = sum(len(data) for name, data in metadata.items() if f"metadata/{name}" in done.files)
    return {
        "changed": done.changed,
        "bytes": size,
        "blobs": 0,
        "written": 0 if check_mode else size,
        "files": list(done.files),
        "releases": [target.path for target in done.releases],
        "pruned": list(done.pruned),
        "bytes_freed": done.freed,
        "diff": {
            "before": {"files_to_write": list(done.files), "blobs_to_prune": list(done.pruned)},
            "after": {"files_to_write": [], "blobs_to_prune": []},
        },
    }


def describe_medium(medium: Medium, part_size: int | None) -> dict[str, t.Any]:
    return {"mount": medium.mount, "kind": medium.kind, "part_size": part_size or medium.part_size}


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Write content, or publish metadata; in check mode refuse what would be refused."""
    params = module.params
    if params["state"] == "content":
        task = read_task(params, module.check_mode, module.tmpdir)
        fetch(params["pulled"], params["architecture"], module.check_mode)
        lacking = absent(params["images"], params["architecture"]) if module.check_mode else []
        if lacking:
            # How large they are is known when they are here.
            return {"changed": True, "absent": lacking, "diff": {"before": {}, "after": {"images": lacking}}}
        result, part_size = describe_written(write_content(task)), task.part_size
    else:
        metadata = read_base64(params, "metadata")
        share = read_share(params)
        done = publish(params["depot"], metadata, share, params["prune"], params["take_over"], module.check_mode)
        result, part_size = describe_published(done, metadata, module.check_mode), None
    medium = look_at_medium(params["depot"])
    return {**result, "free": medium.free, "medium": describe_medium(medium, part_size)}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[
            ("state", "content", ("release", "files", "fleet", "architecture")),
            ("state", "published", ("metadata",)),
        ],
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except DepotError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
