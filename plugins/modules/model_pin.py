#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_pin
short_description: Find out the digests and sizes that pin a model
version_added: 0.1.0
description:
  - Returns the files of a model with SHA-256, size and source, as C(stack.yml) and M(emorobcare.fleet.model_pull) take
    them, and as text to paste.
  - Where a source announces the digest of a file, nothing of the file is downloaded. A Hugging Face hub does so for
    large files, an OCI registry and a depot for all. Otherwise the file is read once through SHA-256, and not kept.
  - A branch or tag of a hub is resolved to its commit, and the commit is what is pinned.
  - Several sources of one path become sources of one file. Where they announce different sizes or digests, that is an
    error.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
  - emorobcare.fleet._model_sources
attributes:
  check_mode:
    support: full
    details:
      - Asks the sources as a real run does, and writes no O(dest).
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - The pins of a branch or tag change when it moves. Those of a commit or digest stay.
options:
  name:
    description:
      - Name of the model.
    type: str
    required: true
  version:
    description:
      - Version of the model.
    type: str
    required: true
  hub:
    description:
      - A repository on a Hugging Face hub, as C(organisation/name), of which files are to be pinned.
    type: str
  revision:
    description:
      - Branch, tag or commit of O(hub).
    type: str
    default: main
  include:
    description:
      - Patterns of the files of O(hub) to pin. By default all are.
      - They are a shell's, over the whole path. C(*) matches C(/) as well, and V(folder/) all that is in the folder.
    type: list
    elements: str
  exclude:
    description:
      - Patterns of the files of O(hub) to leave out, whatever O(include) says.
    type: list
    elements: str
    default:
      - .gitattributes
  sources:
    description:
      - URLs of files to pin under the names that they have at their source.
      - O(emorobcare.fleet.model_pull#module:files) says which URLs there are.
      - V(oci://registry/repository@sha256:digest) and V(depot:///folder!/name) without V(!/path) stand for all files of
        the artifact.
    type: list
    elements: str
  files:
    description:
      - Files to pin under other names, or with several sources.
    type: list
    elements: dict
    suboptions:
      path:
        description:
          - Where the file goes, relative to the version's folder.
        type: str
        required: true
      source:
        description:
          - Where the file comes from.
          - Exactly one of O(files[].source) and O(files[].sources) is needed.
        type: str
      sources:
        description:
          - Where the file comes from, in the order in which hosts are to try.
          - A source that cannot be asked from here (a stick, say) is pinned all the same, with a warning, as long as
            another one tells the digest.
        type: list
        elements: str
  dest:
    description:
      - YAML file to write the pins to, in the form that C(models) of C(stack.yml) and C(model_sync_manifest) of the
        role P(emorobcare.fleet.model_sync#role) take by its path. Its folder must exist.
    type: path
seealso:
  - module: emorobcare.fleet.model_pull
notes:
  - At least one of O(hub), O(sources) and O(files) is required.
  - Digests are taken from the sources as they are now. Whether those are to be trusted is for whoever reviews the pins.
"""

EXAMPLES = r"""
- name: Pin the weights and the configuration of a model, at the commit that main is now
  emorobcare.fleet.model_pin:
    name: all-minilm-l6-v2
    version: "1"
    hub: sentence-transformers/all-MiniLM-L6-v2
    include: ["model.safetensors", "*.json"]
  register: pinned
  delegate_to: localhost

- name: Show what to paste into stack.yml
  ansible.builtin.debug:
    msg: "{{ pinned.yaml }}"

- name: Pin a file that a mirror in the house, a stick and the hub have
  emorobcare.fleet.model_pin:
    name: silero-vad
    version: "5"
    files:
      - path: silero_vad.onnx
        sources:
          - https://models.example.org/silero-vad/5/silero_vad.onnx
          - depot:///media/stick/depot!/silero-vad-5!/silero_vad.onnx
          - hf://onnx-community/silero-vad@main/onnx/model.onnx
    dest: silero-vad.yml
  delegate_to: localhost

- name: Pin all files of a model in a registry
  emorobcare.fleet.model_pin:
    name: speech
    version: "2"
    sources:
      - oci://registry.example.org/models/speech@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    registry_username: robot
    registry_password: "{{ vault_registry_password }}"
"""

RETURN = r"""
model:
  description:
    - The model with its pins, as an entry of C(models) in C(stack.yml) and as M(emorobcare.fleet.model_pull) takes it.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the model.
      type: str
      sample: all-minilm-l6-v2
    version:
      description: Version of the model.
      type: str
      sample: "1"
    files:
      description: The files.
      type: list
      elements: dict
      contains:
        path:
          description: Where the file goes, relative to the version's folder.
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
          description: Where the file comes from, without credentials.
          returned: when there is one source
          type: str
          sample: hf://sentence-transformers/all-MiniLM-L6-v2@c9745ed1d9f207416be6d2e6f8de32d1f16199bf/model.safetensors
        sources:
          description: Where the file comes from, in order, without credentials.
          returned: when there are several
          type: list
          elements: str
yaml:
  description: The model as text to paste into C(stack.yml), with the key C(models).
  returned: success
  type: str
files:
  description: Of each file, how its digest was found out.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where the file goes, relative to the version's folder.
      type: str
      sample: model.safetensors
    digest_from:
      description: Whether a source announced the digest, or it was computed from the file's bytes.
      type: str
      choices:
        - announced
        - computed
      sample: announced
commits:
  description: The commits that were pinned, by repository of the hub.
  returned: success
  type: dict
  sample: {"sentence-transformers/all-MiniLM-L6-v2": "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"}
bytes_read:
  description: Bytes of files that were downloaded, or read on the host, to compute digests.
  returned: success
  type: int
  sample: 612
dest:
  description: The file that has the pins.
  returned: when O(dest) is given
  type: str
  sample: /home/me/stack/silero-vad.yml
reason:
  description:
    - Why the task was refused or failed, as one word for automation; see
      RV(emorobcare.fleet.model_pull#module:reason) for what there is.
    - The facts behind it (which file, which source, which status) are further values of the result.
  returned: failure
  type: str
  sample: unavailable
"""

import contextlib
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_module import (
    SOURCES_SPEC,
    ModelModule,
    host_pip,
    network_of,
    retry_of,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Origin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origins import make_origin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pin import (
    as_model,
    as_stack,
    as_yaml,
    parse_pin_request,
    unshown,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pin_look import (
    Pinned,
    Pinner,
    read_text,
    replace_text,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import Source, redact_text

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "hub": {"type": "str"},
    "revision": {"type": "str", "default": "main"},
    "include": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str", "default": [".gitattributes"]},
    "sources": {"type": "list", "elements": "str"},
    "files": {
        "type": "list",
        "elements": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "source": {"type": "str"},
            "sources": {"type": "list", "elements": "str"},
        },
        "mutually_exclusive": [("source", "sources")],
        "required_one_of": [("source", "sources")],
    },
    "dest": {"type": "path"},
    **SOURCES_SPEC,
}


def look(module: AnsibleModule) -> Pinned:
    """Ask the sources; nothing of what they send is kept."""
    params = module.params
    request = parse_pin_request(params)
    network, retry, pip = network_of(params), retry_of(params), host_pip(module)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=module.tmpdir))

        def make(source: Source) -> Origin:
            return make_origin(source, network, pip, scratch, retry.count)

        pinner = Pinner(make, retry)
        return stack.enter_context(contextlib.closing(pinner)).pin(request)


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, and write what was found out if that is wanted."""
    params = module.params
    pinned = look(module)
    for warning in pinned.warnings:
        module.warn(redact_text(warning))
    for shown in unshown(pinned.files):
        module.warn(f"{shown} is shown without its credentials and the values of its query; put back what hosts need")
    model = as_model(parse_pin_request(params), pinned.files)
    text = as_yaml(model)
    result: dict[str, t.Any] = {
        "changed": False,
        "model": model,
        "yaml": as_stack(text),
        "files": [{"path": pin.path, "digest_from": pin.digest_from} for pin in pinned.files],
        "commits": dict(pinned.commits),
        "bytes_read": pinned.bytes_read,
    }
    dest = params["dest"]
    if not dest:
        return result
    before, after = read_text(dest), f"---\n{text}"
    changed = before != after
    if changed and not module.check_mode:
        replace_text(dest, after)
    diff = {"before_header": dest, "before": before or "", "after_header": dest, "after": after}
    return {**result, "changed": changed, "dest": dest, "diff": diff}


def main() -> None:
    module = ModelModule(
        argument_spec=ARGUMENT_SPEC,
        required_one_of=[("hub", "sources", "files")],
        required_together=[("registry_username", "registry_password")],
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except ModelError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
