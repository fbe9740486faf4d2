# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stack
short_description: Read, check and resolve a stack
version_added: 0.1.0
description:
  - Reads C(stack.yml) and the Compose files of one environment from a stack's folder, checks them against the schema of
    C(stack.yml) and against each other, and returns everything that building and deploying the stack needs.
  - The result depends on nothing but the content of the stack's folder and of the recipes of the base images. So it is
    the same wherever the stack is checked out, RV(_raw[].path) and RV(_raw[].images[].context) excepted.
  - A folder with C(compose.yml) alone is a stack, too. It is called as Compose calls the project (C(name), or the
    folder's name), all its services are stateless, and nothing is built.
  - Everything that is wrong is reported at once, with file, line, place, value and what is allowed.
author:
  - The emorobcare.fleet contributors (@emorobcare)
requirements:
  - docker (Python package, on the controller)
  - jmespath (Python package, on the controller)
  - jsonschema (Python package, on the controller)
options:
  _terms:
    description: Folders of stacks. Relative ones are looked for below the playbook's folder.
    type: list
    elements: path
    required: true
  environment:
    description:
      - Environment to resolve the stack for. Its overlay C(compose.<environment>.yml) must exist.
      - Without it, or when it is empty, C(compose.yml) alone counts.
    type: str
  base_source:
    description:
      - Where the base images come from, which Dockerfiles name by C(ARG BASE_...) before their first C(FROM).
      - With V(debian), they are made from Debian packages by the recipes of this collection.
      - With V(registry), they are pulled as the Dockerfiles name them.
    type: str
    choices:
      - debian
      - registry
    default: debian
  carried:
    description:
      - Whether a depot brings the release to hosts. Then nothing is pulled there, and an image whose reference has a
        digest is called by a tag that ends with the beginning of it, because no engine takes an image from a depot
        under a digest of somebody else's.
    type: bool
    default: false
  hardening:
    description:
      - What becomes of a stack whose services violate the rules about containers (C(hardening) in C(stack.yml)).
      - With V(refuse), one that violates a rule of level V(fail) is an error that tells them all, and rules of level
        V(warn) are a warning.
      - With V(report), they are in RV(_raw[].hardening) alone. That is for what must go on after an exception has
        ended, such as taking a stack off a host.
    type: str
    choices:
      - refuse
      - report
    default: refuse
  parameters:
    description:
      - Values that a host sets for parameters of the stack. The rules about containers look at them, where a Compose
        file has a variable; nothing else of the result depends on them.
      - Those that are left out count by their defaults.
    type: dict
    default: {}
notes:
  - Exceptions end by this machine's clock. Nothing else of the result depends on the day.
  - C(stack.yml) is described in the collection's C(docs/stack-file.md), its schema is
    C(plugins/plugin_utils/stack.schema.json).
"""

EXAMPLES = r"""
- name: Show what a release would be called
  ansible.builtin.debug:
    msg: "{{ lookup('emorobcare.fleet.stack', '/srv/stacks/emorobcare', environment='prod').release.id }}"

- name: Show the images that have to be built
  ansible.builtin.debug:
    msg: "{{ stack.images | map(attribute='reference') }}"
  vars:
    stack: "{{ lookup('emorobcare.fleet.stack', 'stacks/emorobcare', environment='dev', base_source='debian') }}"
"""

RETURN = r"""
_raw:
  description: One dictionary for each stack.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the stack.
      type: str
      sample: emorobcare
    environment:
      description: The environment, or null.
      type: str
      sample: dev
    path:
      description: Absolute path of the stack's folder.
      type: str
    compose_files:
      description: Names of the Compose files, in their order.
      type: list
      elements: str
      sample: [compose.yml, compose.dev.yml]
    images:
      description:
        - Images to build, by service.
        - Services whose images come from the same input under the same rules share that of the first, by name.
      type: list
      elements: dict
      contains:
        service:
          description: The service.
          type: str
        name:
          description: Name of the image.
          type: str
          sample: emorobcare/api
        reference:
          description: Name and tag; the tag is the beginning of RV(_raw[].images[].input).
          type: str
        input:
          description: SHA-256 over everything that goes into the image.
          type: str
        context:
          description: Absolute path of the build context.
          type: str
        dockerfile:
          description: Path of the Dockerfile below the context.
          type: str
        args:
          description: All build arguments, those that name bases included.
          type: dict
        base_args:
          description:
            - Names of the arguments whose value is the reference of one of RV(_raw[].bases).
            - None with O(base_source=registry).
          type: list
          elements: str
        max_size:
          description: Largest size in bytes, or null.
          type: int
    audit:
      description:
        - The same images as M(emorobcare.fleet.image_audit) takes them, with C(input), C(lifecycle), C(bases),
          C(max_size), and the policy of C(stack.yml) in C(rules) and C(max_layers).
      type: list
      elements: dict
    bases:
      description: Base images to make, that of an ingress included; none with O(base_source=registry).
      type: list
      elements: dict
      contains:
        name:
          description: Name of the recipe.
          type: str
          sample: base-python
        reference:
          description: Name and tag of the base image.
          type: str
        input:
          description: SHA-256 of the recipe's canonical JSON.
          type: str
        recipe:
          description: The recipe.
          type: dict
    pulled:
      description:
        - The images that are not built, of services without a profile. By the reference that the release says, the one
          that the Compose files say, variables included. The two differ with O(carried=true) at most.
      type: dict
    models:
      description:
        - Models with C(name), C(version) and C(files).
        - A file has C(path), C(sha256), C(size) (bytes, or a rough figure as it was written, or null), C(sources) in
          the order to try, and C(required).
      type: list
      elements: dict
    parameters:
      description: Declarations with C(type), C(choices), C(description) and, unless required, C(default).
      type: dict
    secrets:
      description: Declarations with C(description).
      type: dict
    services:
      description:
        - Services of the environment with C(lifecycle), C(url) and C(gate).
        - Every default is filled in; times are in seconds.
      type: dict
    hardening:
      description:
        - What services violate of the rules about containers, by their numbers in the CIS Docker Benchmark.
      type: list
      elements: dict
      contains:
        service:
          description: The service.
          type: str
        rule:
          description: The rule, as C(hardening) of C(stack.yml) calls it.
          type: str
          sample: read-only-root
        control:
          description: Number of the control.
          type: str
          sample: "5.13"
        level:
          description: How grave it is, V(fail), V(warn) or V(ignore).
          type: str
        evidence:
          description: What shows it.
          type: list
          elements: str
        way_out:
          description: What to write.
          type: str
        reason:
          description: Why it is ignored, or empty.
          type: str
        until:
          description: The last day on which it is or was ignored, or empty.
          type: str
    rollout:
      description:
        - C(success_threshold) and C(gate_timeout), and what the stack says of C(strategy), C(soak), C(drain) and
          C(busy_timeout). Times are in seconds.
      type: dict
    release:
      description: The release.
      type: dict
      contains:
        id:
          description: SHA-256 of the document's canonical JSON (keys sorted, no spaces, UTF-8).
          type: str
        document:
          description: The release document, the same for every host.
          type: dict
        files:
          description: Files of the release, base64-encoded, by their path below the release's folder.
          type: dict
"""

import pathlib
import sys
import typing as t

from ansible.errors import AnsibleTemplatePluginError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack import load_stack
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_hardening import Judging, warning

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "roles" / "image_build" / "files" / "bases"


class LookupModule(LookupBase):
    """Read, check and resolve stacks."""

    def run(
        self, terms: list[t.Any], variables: dict[str, t.Any] | None = None, **kwargs: t.Any
    ) -> list[dict[str, t.Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        return [self._load(term) for term in terms]

    def _load(self, term: t.Any) -> dict[str, t.Any]:
        if not isinstance(term, str) or not term:
            raise AnsibleTemplatePluginError(f"emorobcare.fleet.stack needs the path of a stack's folder, got {term!r}")
        loader: t.Any = self._loader
        folder = pathlib.Path(str(loader.path_dwim(term)))
        environment = self.get_option("environment")
        judging = Judging(self.get_option("hardening") == "refuse", parameters=self.get_option("parameters"))
        try:
            # Plain strings: Ansible's own carry marks of where they come from, and would not be equal everywhere.
            stack = load_stack(
                folder,
                str(environment) if environment else None,
                self.get_option("base_source"),
                RECIPES,
                bool(self.get_option("carried")),
                judging,
            )
        except StackFileError as exc:
            raise AnsibleTemplatePluginError(str(exc)) from exc
        except OSError as exc:
            raise AnsibleTemplatePluginError(f"{exc.filename} cannot be read: {exc.strerror}") from exc
        except ImportError as exc:
            raise AnsibleTemplatePluginError(
                f"emorobcare.fleet.stack needs the Python package {exc.name!r}; install it for {sys.executable}"
            ) from exc
        said = warning(stack["name"], stack["hardening"])
        if said and judging.refuse:
            Display().warning(said)
        return stack
