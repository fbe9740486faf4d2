#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_base
short_description: Make base images from a Debian archive
version_added: 0.1.0
description:
  - Makes base images out of Debian packages with C(mmdebstrap), for hosts that reach no container registry.
  - Packages are only unpacked. No maintainer script runs, so a recipe says what else an image needs.
  - A base whose reference exists and was made from the same recipe is left alone. Raise the recipe's C(revision) to
    have it made again from today's archive.
  - The same recipe and the same archive give the same layer to the byte.
  - Until a base is whole nothing is changed. One that fails leaves no image, and older ones as they were.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Needs neither C(mmdebstrap) nor a Docker engine, so that a host which gets them later can be predicted.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - C(mmdebstrap) 1.3 or later, when a base must be made.
  - A keyring that knows the recipe's suite (Debian package C(debian-archive-keyring)).
  - A Docker engine, 20.10 or later, and its command line.
options:
  bases:
    description:
      - The bases, as the lookup P(emorobcare.fleet.stack#lookup) gives them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the recipe.
        type: str
        required: true
      reference:
        description:
          - Name and tag of the image. The tag stands for the recipe's content.
        type: str
        required: true
      input:
        description:
          - SHA-256 of the recipe in lower-case hex. The image carries it as a label.
        type: str
        required: true
      recipe:
        description:
          - What the image is made of.
          - Keys are C(suite), C(packages), C(run), C(rename), C(remove), C(keep), C(directories), C(files), C(links),
            C(users), C(environment) and C(revision). The recipes of role P(emorobcare.fleet.image_build#role) are
            examples of all of them.
        type: dict
        required: true
  platforms:
    description:
      - What to make the bases for, any of V(linux/amd64), V(linux/arm64) and V(linux/arm/v7).
      - Empty means the engine's own platform.
      - A base for the engine's own platform has the reference that it was asked for with. On a foreign platform the
        tag ends with the platform, as in C(:1a1ae37794badc88-arm64) or C(-arm-v7), and the input label is the SHA-256
        of the input and the platform.
      - Foreign programs run by emulation. Where the host cannot run them, what is to be made for that platform is
        skipped with a warning and RV(bases[].skipped), and the rest is made. The Debian packages
        C(qemu-user-static) and C(binfmt-support), on Debian 13 C(qemu-user-binfmt), provide it.
    type: list
    elements: str
    default: []
  mirror:
    description:
      - URL of the Debian archive, or lines of a C(sources.list).
      - A URL alone means that archive's suite without its security updates.
      - By default C(mmdebstrap) chooses, which for a stable suite takes its updates and security updates too.
    type: str
  offline:
    description:
      - Whether to refuse to make a base from an archive that is not on the host itself (O(mirror) of C(file:) or
        C(copy:)).
    type: bool
    default: false
  work_directory:
    description:
      - Directory on the host that packages are unpacked in. It needs 512 MB and is left as it was.
    type: path
    default: /var/tmp
  keep:
    description:
      - How many versions of a base to keep, for each platform. Older ones lose their reference once a new one was made,
        unless a container uses them. Layers that images were built on stay with those.
    type: int
    default: 2
"""

EXAMPLES = r"""
- name: Make the bases of a stack
  emorobcare.fleet.image_base:
    bases: "{{ lookup('emorobcare.fleet.stack', 'stacks/emorobcare', base_source='debian').bases }}"
"""

RETURN = r"""
bases:
  description: The bases, in the order of the request, and of each one those for the platforms in their order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the recipe.
      type: str
    reference:
      description: Name and tag of the image.
      type: str
    platform:
      description: The platform, if O(platforms) names any.
      type: str
      sample: linux/arm64
    id:
      description: Id of the image; V(none) when it is skipped, and in check mode when it would be made.
      type: str
    size:
      description: Size in bytes, as the engine reports it; V(none) when there is no RV(bases[].id).
      type: int
    built:
      description: Whether it was made, or would be in check mode.
      type: bool
    skipped:
      description: Whether it would have to be made, but this host cannot run the platform's programs.
      type: bool
    reason:
      description: Why it is made or skipped; empty when it is there.
      type: str
    seconds:
      description: How long that took.
      type: float
tools_missing:
  description: Commands that making the bases needs and the host lacks. Only in check mode is this not an error.
  returned: success
  type: list
  elements: str
"""

import shutil
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_debian import is_local
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_emulation import emulation_faults
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    INPUT_LABEL,
    Engine,
    ImageEngineError,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_import import (
    ImageImportError,
    Order,
    import_base,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_look import (
    find_targets,
    look,
    prune_versions,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_plan import (
    ImagePlanError,
    Plan,
    Step,
    Wanted,
    make_plan,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import ImagePlatformError
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_recipe import (
    ImageRecipeError,
    Recipe,
    parse_recipe,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "bases": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "reference": {"type": "str", "required": True},
            "input": {"type": "str", "required": True},
            "recipe": {"type": "dict", "required": True},
        },
    },
    "platforms": {"type": "list", "elements": "str", "default": []},
    "mirror": {"type": "str"},
    "offline": {"type": "bool", "default": False},
    "work_directory": {"type": "path", "default": "/var/tmp"},
    "keep": {"type": "int", "default": 2},
}

TOOLS = ("mmdebstrap",)


def missing_tools(plan: Plan) -> list[str]:
    """Return the commands that the plan needs and the host lacks."""
    return [tool for tool in TOOLS if plan.changed and shutil.which(tool) is None]


def refuse_network(plan: Plan, mirror: str | None) -> None:
    """Refuse to make bases from an archive that is elsewhere.

    :raises ImageImportError: naming the bases.
    """
    if plan.changed and not is_local(mirror):
        names = ", ".join(step.wanted.reference for step in plan.to_make)
        raise ImageImportError(
            f"{names} must be made, and offline is set, while {mirror or 'the default archive'} is not on this host. "
            "Make them once with a network, or set mirror to an archive on a disk (copy:/media/debian)"
        )


def make(module: AnsibleModule, engine: Engine, step: Step, recipe: Recipe) -> dict[str, t.Any]:
    """Make one base; return what there is to tell about it."""
    started = time.monotonic()
    target = step.wanted.target
    import_base(
        engine,
        Order(
            reference=step.wanted.reference,
            recipe=recipe,
            labels={INPUT_LABEL: step.wanted.input, "org.opencontainers.image.title": step.wanted.name},
            mirror=module.params["mirror"],
            work_directory=module.params["work_directory"],
            foreign=target.platform if target.foreign else None,
        ),
    )
    image = engine.inspect([step.wanted.reference])[step.wanted.reference]
    return {"id": image.id, "size": image.size, "seconds": round(time.monotonic() - started, 1)}


def report(base: dict[str, t.Any], step: Step) -> dict[str, t.Any]:
    """Return what is known of a base before anything is made."""
    return {
        "name": base["name"],
        "reference": step.wanted.reference,
        "platform": step.wanted.target.name,
        "id": step.right.id if step.right else None,
        "size": step.right.size if step.right else None,
        "built": step.make,
        "skipped": step.skipped != "",
        "reason": step.skipped or step.reason,
        "seconds": 0.0,
    }


def run(module: AnsibleModule, engine: Engine) -> dict[str, t.Any]:
    """Look, plan, refuse what cannot work (in check mode too), carry out."""
    bases = [(base, parse_recipe(base["name"], base["recipe"])) for base in module.params["bases"]]
    targets = find_targets(engine, module.params["platforms"], engine_may_be_missing=module.check_mode)
    orders = [order for order in bases for _target in targets]
    wanted = [Wanted(base["reference"], base["input"]).on(target) for base, _recipe in bases for target in targets]
    plan = make_plan(wanted, *look(engine, wanted, engine_may_be_missing=module.check_mode))
    if plan.foreign:
        plan = plan.without(emulation_faults(plan.foreign, module.tmpdir))
    for fault in plan.faults:
        module.warn(fault)
    if module.params["offline"]:
        refuse_network(plan, module.params["mirror"])
    tools = missing_tools(plan)
    reports = [report(base, step) for (base, _recipe), step in zip(orders, plan.steps)]
    if not module.check_mode:
        if tools:
            raise ImageImportError(
                f"there is no {', '.join(tools)} command on this host; install the package of that name"
            )
        for step, (_base, recipe), told in zip(plan.steps, orders, reports):
            if step.make:
                told.update(make(module, engine, step, recipe))
        prune_versions(engine, plan, module.params["keep"])
    return {"changed": plan.changed, "bases": reports, "tools_missing": tools, "diff": plan.diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module, Engine())
    except (ImageRecipeError, ImagePlatformError, ImagePlanError, ImageImportError, ImageEngineError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
