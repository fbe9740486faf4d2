#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
short_description: Build a stack's images when what goes into them has changed
version_added: 0.1.0
description:
  - Builds images with BuildKit in the host's Docker engine, each from a context on the controller.
  - An image is built only when its reference does not exist or was made from another input. Looking costs one command.
  - A context is sent to the host only if its image must be built.
  - The same input gives the same image id, whenever and wherever it is built, as far as the Dockerfile's steps do the
    same. Times after the beginning of 2025 become that.
  - An image gets its reference only after it was built and is within its size limit. Whatever goes wrong, images and
    references that were there before stay as they are.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Tells which images would be built and why. Needs no Docker engine, so that a host which gets one later can be
        predicted.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - A Docker engine, 20.10 or later, and its command line; with Docker 23 or later the plugin buildx.
  - The Python package C(docker) on the controller.
options:
  images:
    description:
      - The images, as the lookup P(emorobcare.fleet.stack#lookup) gives them.
    type: list
    elements: dict
    required: true
    suboptions:
      service:
        description:
          - The service that the image is for.
        type: str
        required: true
      name:
        description:
          - Name of the image, C(stack/service).
        type: str
        required: true
      reference:
        description:
          - Name and tag of the image. The tag stands for the input.
        type: str
        required: true
      input:
        description:
          - SHA-256 over all that goes into the image, in lower-case hex. The image carries it as a label.
        type: str
        required: true
      context:
        description:
          - Directory on the controller with the files of the build. C(.dockerignore) is honoured.
        type: path
        required: true
      dockerfile:
        description:
          - Path of the Dockerfile below the context.
        type: str
        default: Dockerfile
      args:
        description:
          - Build arguments. They can be read in the image's history, so secrets do not belong here.
        type: dict
        default: {}
      base_args:
        description:
          - Names of the build arguments that name a base which M(emorobcare.fleet.image_base) makes. For a foreign
            platform they get that platform's base.
          - All other arguments stay. An image from a registry has the same reference on all platforms.
        type: list
        elements: str
        default: []
      max_size:
        description:
          - Largest size in bytes, as the engine reports it, that the image may have.
        type: int
  platforms:
    description:
      - What to build the images for, any of V(linux/amd64), V(linux/arm64) and V(linux/arm/v7).
      - Empty means the engine's own platform.
      - An image for the engine's own platform has the reference that it was asked for with. On a foreign platform the
        tag ends with the platform, as in C(:3072f3e9a6b984ac-arm64) or C(-arm-v7), and the input label is the SHA-256
        of the input and the platform.
      - All stages of a Dockerfile are built for the platform, and foreign programs run by emulation. Where the host
        cannot run them, what is to be built for that platform is skipped with a warning and RV(images[].skipped), and
        the rest is built. The Debian packages C(qemu-user-static) and C(binfmt-support), on Debian 13
        C(qemu-user-binfmt), provide it.
    type: list
    elements: str
    default: []
  secrets:
    description:
      - Files on the host that builds may mount as BuildKit secrets, by id. They never get into an image.
      - Each must exist when an image is built.
    type: dict
    default: {}
  offline:
    description:
      - Whether the steps of the builds have no network at all. What they would fetch must be in the builder's cache,
        which Dockerfiles mount as C(fleet-packages), and the bases on the host.
      - It is not part of the input.
    type: bool
    default: false
  cache_directory:
    description:
      - Directory on the host for the packages that builds fetch, as plain files. Before images are built, the builder's
        cache gets those that it lacks; afterwards, the directory gets those that are new. Take it to another machine to
        build there with O(offline=true).
      - Counts for images with a build argument C(BASE_…_BUILD), whose base has a shell.
    type: path
  revision:
    description:
      - What identifies the source, such as a commit, for the label C(org.opencontainers.image.revision).
      - It is not part of the input. An image that is not built keeps its label.
    type: str
  source:
    description:
      - Where the source is, such as a repository's URL, for the label C(org.opencontainers.image.source).
      - It is not part of the input. An image that is not built keeps its label.
    type: str
  keep:
    description:
      - How many versions of an image to keep, for each platform. Older ones are removed once a new one was built,
        unless a container uses them.
    type: int
    default: 3
notes:
  - Builders that were chosen with C(docker buildx use) do not count. The images are built in the engine that runs them.
"""

EXAMPLES = r"""
- name: Build what has changed
  emorobcare.fleet.image_build:
    images: "{{ lookup('emorobcare.fleet.stack', 'stacks/emorobcare', environment='dev').images }}"
    secrets:
      ca: /etc/ssl/certs/ca-certificates.crt
"""

RETURN = r"""
images:
  description: The images, in the order of the request, and of each one those for the platforms in their order.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: The service that the image is for.
      type: str
    reference:
      description: Name and tag of the image.
      type: str
    platform:
      description: The platform, if O(platforms) names any.
      type: str
      sample: linux/arm64
    id:
      description: Id of the image; V(none) when it is skipped, and in check mode when it would be built.
      type: str
    size:
      description: Size in bytes, as the engine reports it; V(none) when there is no RV(images[].id).
      type: int
    built:
      description: Whether it was built, or would be in check mode.
      type: bool
    skipped:
      description: Whether it would have to be built, but this host cannot run the platform's programs.
      type: bool
    reason:
      description: Why it is built or skipped; empty when it is there.
      type: str
      sample: input changed
    previous:
      description: Reference of the newest other version that the host has.
      type: str
    seconds:
      description: How long the build took.
      type: float
removed:
  description: References of old versions that were removed.
  returned: success
  type: list
  elements: str
"""

import contextlib
import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_build import (
    Build,
    ImageBuildError,
    Secret,
    image_labels,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_builder import build_image
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_cache import build_base, fill, take
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_emulation import emulation_faults
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Engine, ImageEngineError
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
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import ImagePlatformError, Target

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "service": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "reference": {"type": "str", "required": True},
            "input": {"type": "str", "required": True},
            "context": {"type": "path", "required": True},
            "dockerfile": {"type": "str", "default": "Dockerfile"},
            "args": {"type": "dict", "default": {}},
            "base_args": {"type": "list", "elements": "str", "default": []},
            "max_size": {"type": "int"},
        },
    },
    "platforms": {"type": "list", "elements": "str", "default": []},
    "secrets": {"type": "dict", "default": {}, "no_log": False},  # places of files, no contents
    "offline": {"type": "bool", "default": False},
    "cache_directory": {"type": "path"},
    "revision": {"type": "str"},
    "source": {"type": "str"},
    "keep": {"type": "int", "default": 3},
}


def wanted_image(image: dict[str, t.Any]) -> Wanted:
    """Return what must exist; raise ImagePlanError if what is said of the image contradicts itself."""
    wanted = Wanted(image["reference"], image["input"], image["max_size"])
    if wanted.name != image["name"]:
        raise ImagePlanError(
            f"image of service {image['service']}: reference {wanted.reference} is not of name {image['name']}"
        )
    for name in image["base_args"]:
        if name not in image["args"]:
            raise ImagePlanError(
                f"image of service {image['service']}: base_args has {name}, which is none of its args "
                f"({', '.join(sorted(image['args'])) or 'there are none'})"
            )
    return wanted


def build_args(image: dict[str, t.Any], target: Target) -> dict[str, t.Any]:
    """Return the image's build arguments, with the bases of the target."""
    return {
        name: target.reference(value) if name in image["base_args"] else value for name, value in image["args"].items()
    }


def read_secrets(secrets: dict[str, t.Any], plan: Plan) -> list[Secret]:
    """Return the secrets; refuse files that are not there if anything is to be built."""
    read = [Secret(name, str(path)) for name, path in sorted(secrets.items())]
    for secret in read:
        if plan.changed and not os.path.isfile(secret.path):
            raise ImageBuildError(
                f"secrets.{secret.id}: the host has no file {secret.path}; put it there, or take the secret out"
            )
    return read


def build_all(
    module: AnsibleModule, engine: Engine, plan: Plan, images: t.Sequence[dict[str, t.Any]], secrets: list[Secret]
) -> list[dict[str, t.Any]]:
    """Build what the plan says, unless in check mode; return what there is to tell about each image.

    :param images: what each step of the plan is for.
    """
    told = []
    for step, image in zip(plan.steps, images):
        started = time.monotonic()
        right = step.right
        if step.make and not module.check_mode:
            args = build_args(image, step.wanted.target)
            build = Build(step.wanted, image["context"], image["dockerfile"], args, module.params["offline"])
            labels = image_labels(step.wanted, module.params["revision"], module.params["source"])
            right = build_image(engine, build, secrets, labels, module.tmpdir)
        told.append(_report(image["service"], step, right, started))
    return told


@contextlib.contextmanager
def packages_kept(module: AnsibleModule, plan: Plan, images: t.Sequence[dict[str, t.Any]]) -> t.Iterator[None]:
    """Give the builder the packages that were kept, and keep those that the builds inside fetch.

    :param images: what each step of the plan is for.
    """
    directory = module.params["cache_directory"]
    orders = [(image, step.wanted.target) for step, image in zip(plan.steps, images) if step.make]
    orders.sort(key=lambda order: order[1].foreign)  # copying by emulation works too, but takes longer
    bases = ((build_base([build_args(image, target)]), target) for image, target in orders)
    base, target = next((one for one in bases if one[0]), (None, Target()))
    if module.check_mode or not directory or base is None:
        yield
        return
    platform = target.name if target.foreign else None
    fill(base, directory, platform)
    yield
    take(base, directory, platform)


def _report(service: str, step: Step, image: t.Any, started: float) -> dict[str, t.Any]:
    return {
        "service": service,
        "reference": step.wanted.reference,
        "platform": step.wanted.target.name,
        "id": None if image is None else image.id,
        "size": None if image is None else image.size,
        "built": step.make,
        "skipped": step.skipped != "",
        "reason": step.skipped or step.reason,
        "previous": step.previous,
        "seconds": round(time.monotonic() - started, 1),
    }


def run(module: AnsibleModule, engine: Engine) -> dict[str, t.Any]:
    """Look, plan, refuse what cannot work (in check mode too), carry out."""
    requested = [(image, wanted_image(image)) for image in module.params["images"]]
    targets = find_targets(engine, module.params["platforms"], engine_may_be_missing=module.check_mode)
    images = [image for image, _wanted in requested for _target in targets]
    wanted = [one.on(target) for _image, one in requested for target in targets]
    plan = make_plan(wanted, *look(engine, wanted, engine_may_be_missing=module.check_mode))
    if plan.foreign:
        plan = plan.without(emulation_faults(plan.foreign, module.tmpdir))
    for fault in plan.faults:
        module.warn(fault)
    secrets = read_secrets(module.params["secrets"], plan)
    with packages_kept(module, plan, images):
        told = build_all(module, engine, plan, images, secrets)
    removed = [] if module.check_mode else prune_versions(engine, plan, module.params["keep"])
    return {"changed": plan.changed, "images": told, "removed": removed, "diff": plan.diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module, Engine())
    except (ImagePlatformError, ImagePlanError, ImageBuildError, ImageEngineError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
