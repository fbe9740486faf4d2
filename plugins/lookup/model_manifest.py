# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: model_manifest
short_description: Read and check a file of models
version_added: 0.1.0
description:
  - Reads models from a file of their own, for hosts that get models without a stack, and returns them as
    M(emorobcare.fleet.model_pull) takes them.
  - The file holds a list of model versions with their files, as C(models) of C(stack.yml), or a mapping in the plain
    form, C({name} of {url, checksum, size, required}), for models of one file each. Both are described in the
    collection's C(docs/stack-file.md).
  - Everything that is wrong is reported at once, with file, line, place, value and what is allowed.
author:
  - The emorobcare.fleet contributors (@emorobcare)
requirements:
  - jsonschema (Python package, on the controller)
options:
  _terms:
    description:
      - Files of models. Relative ones are looked for below the playbook's folder.
      - One whose name ends in C(.json) is read as JSON, any other as YAML.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: Publish the models of a manifest
  emorobcare.fleet.model_pull:
    name: "{{ item.name }}"
    version: "{{ item.version }}"
    files: "{{ item.files }}"
  loop: "{{ lookup('emorobcare.fleet.model_manifest', 'models.json').models }}"
  loop_control:
    label: "{{ item.name }} {{ item.version }}"
"""

RETURN = r"""
_raw:
  description: One dictionary for each file.
  type: list
  elements: dict
  contains:
    path:
      description: Absolute path of the file.
      type: str
    models:
      description: Model versions, by name and version.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the model.
          type: str
          sample: silero-vad
        version:
          description: Version of the model.
          type: str
          sample: sha256-2623a2953f6f
        files:
          description:
            - Its files with C(path), C(sha256), C(size) (bytes, or a rough figure as it was written, or null),
              C(sources) in the order to try, and C(required).
          type: list
          elements: dict
"""

import pathlib
import sys
import typing as t

from ansible.errors import AnsibleTemplatePluginError
from ansible.plugins.lookup import LookupBase

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._model_manifest import model_list, parse_manifest
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError, shown
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import make_models, plain

NAME = "emorobcare.fleet.model_manifest"


class LookupModule(LookupBase):
    """Read and check files of models."""

    def run(
        self, terms: list[t.Any], variables: dict[str, t.Any] | None = None, **kwargs: t.Any
    ) -> list[dict[str, t.Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        return [self._load(term) for term in terms]

    def _load(self, term: t.Any) -> dict[str, t.Any]:
        if not isinstance(term, str) or not term:
            raise AnsibleTemplatePluginError(f"{NAME} needs the path of a file of models, got {term!r}")
        loader: t.Any = self._loader
        path = pathlib.Path(str(loader.path_dwim(term)))
        try:
            document = parse_manifest(shown(path), path.read_bytes())
        except StackFileError as exc:
            raise AnsibleTemplatePluginError(str(exc)) from exc
        except OSError as exc:
            raise AnsibleTemplatePluginError(f"{path} cannot be read: {exc.strerror}") from exc
        except ImportError as exc:
            raise AnsibleTemplatePluginError(
                f"{NAME} needs the Python package {exc.name!r}; install it for {sys.executable}"
            ) from exc
        return {"path": str(path), "models": plain(make_models(model_list(document.data)))}
