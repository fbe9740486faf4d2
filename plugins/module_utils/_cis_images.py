# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The controls of section 4, images, and what an image's configuration and history say to them. Pure.

What lies in an image's files, module image_audit finds when the image is built; here nothing of an image is unpacked.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import Config
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_secrets import redacted, secrets_in_config
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked

INPUT_LABEL = "org.emorobcare.fleet.input"
"""What role image_build labels its images with, and so their bases."""

_FILES = (
    "A host unpacks no image. What lies in an image's files, module image_audit looks at when the image is built, and "
    "role image_build refuses what its policy says."
)

USER_CONTROL = Control(
    "4.1",
    "image-user",
    "It runs as a user of its own, not as root",
    "Write USER into the Dockerfile, or user into the Compose file; a number needs no entry in the image",
    "enforced",
)

IMAGE_CONTROLS = (
    USER_CONTROL,
    Control(
        "4.2",
        "image-base",
        "The image is made from a base that is trusted",
        "Name the base by digest, or take one of the recipes (ARG BASE_…)",
        "enforced",
    ),
    Control(
        "4.3",
        "image-packages",
        "The image holds no package that it does not need",
        "Build in a stage of its own, and copy only the result into the last one",
        "recorded",
        why=_FILES,
    ),
    Control(
        "4.4",
        "image-vulnerabilities",
        "The image is searched for known vulnerabilities, and built again when there are fixes",
        "Set image_build_audit_scanner (trivy or grype) and give the rule vulnerabilities the level fail in stack.yml",
        "opt-in",
        why="A scanner's database comes from the network and is stale within days, so that a fleet without one must "
        "say where it gets it from.",
    ),
    Control(
        "4.5",
        "content-trust",
        "Images are verified before they are run",
        "Pin images by digest; bring releases in a depot, whose metadata is signed",
        "recorded",
        why="Docker Content Trust has no service behind it any more. Releases pin digests, and a depot's are signed "
        "(TUF), so nothing that is not verified is loaded.",
    ),
    Control(
        "4.6",
        "image-health-check",
        "The image says how it is asked whether it is healthy",
        "Write HEALTHCHECK into the Dockerfile, with a program that the image has",
        "enforced",
    ),
    Control(
        "4.7",
        "image-update-alone",
        "Package lists are fetched in the step that installs from them, never in one of their own",
        "Write update and install into one RUN: a step of its own is taken from the cache when its lists are old",
        "enforced",
    ),
    Control(
        "4.8",
        "image-setuid",
        "No program of the image gives whoever starts it the rights of another user",
        "Write RUN chmod a-s for each, or leave the package out",
        "recorded",
        why=_FILES,
    ),
    Control(
        "4.9",
        "image-add",
        "Files come into the image by COPY, not by ADD",
        "Write COPY; fetch and verify downloads in a RUN of their own",
        "enforced",
    ),
    Control(
        "4.10",
        "image-secrets",
        "No secret is in the image's configuration or history",
        "Build with RUN --mount=type=secret; give the service its secrets as files, and change the one that got out",
        "enforced",
    ),
    Control(
        "4.11",
        "image-verified-packages",
        "Packages are verified when they are installed",
        "Take out the option that turns verification off, and bring the archive's key or the certificate instead",
        "enforced",
    ),
    Control(
        "4.12",
        "image-signatures",
        "Signatures of what goes into the image are verified",
        "Verify signatures of downloads in the build, or pin their digests",
        "recorded",
        why="What a build fetches, only its Dockerfile says; hosts verify digests and the depot's signatures.",
    ),
)

_RUN = re.compile(r"(?:RUN |/bin/sh -c |\|\d+ )")
_UPDATE = re.compile(r"\b(?:apt-get|apt|aptitude|apk|yum|dnf|microdnf|zypper)\b[^|;&]*\b(?:update|refresh|makecache)\b")
_INSTALL = re.compile(
    r"\b(?:apt-get|apt|aptitude|yum|dnf|microdnf|zypper)\b[^|;&]*\b(?:install|upgrade|dist-upgrade|full-upgrade|build-dep)\b"
    r"|\bapk\b[^|;&]*\b(?:add|upgrade)\b|\bmmdebstrap\b"
)
_ADD = re.compile(r"(?:/bin/sh -c #\(nop\) )?ADD (?P<what>.*)")
# What is only said of an image, and adds no files to it.
_SAID = re.compile(
    r"(?:/bin/sh -c #\(nop\)\s+)?(?:ARG|CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|SHELL|STOPSIGNAL"
    r"|USER|VOLUME|WORKDIR) "
)
_ROOT_FILES = re.compile(r"\S+ (?:in )?/\s*(?:# buildkit)?")  # how a base gets its root file system
_UNVERIFIED = re.compile(
    r"--allow-unauthenticated|--force-yes|AllowInsecureRepositories|--allow-insecure-repositories|trusted=yes"
    r"|--allow-untrusted|--nogpgcheck|--no-gpg-checks?|--no-check-certificate|--trusted-host"
    r"|\bcurl\s(?:[^|;&]*\s)?(?:--insecure\b|-[a-zA-Z]*k[a-zA-Z]*\b)|strict-ssl[= ]false|NODE_TLS_REJECT_UNAUTHORIZED=0"
)
_IMAGE_AUDIT = "what lies in its files, image_audit looks at when the image is built (rule {rule})"


@dataclass(frozen=True)
class ImageFacts:
    """An image as the engine knows it. History is what made it, oldest first; None where nobody asked."""

    name: str
    user: str = ""
    health: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    labels: t.Mapping[str, str] = field(default_factory=dict)
    history: tuple[str, ...] | None = None


def facts_of_image(
    document: t.Mapping[str, t.Any], history: t.Sequence[str] | None = None, name: str = ""
) -> ImageFacts:
    """Read one item of `docker image inspect`.

    :arg history: `docker image history --no-trunc --format '{{.CreatedBy}}'`, line by line: the last step first.
    :arg name: what people call it; empty takes its first tag, or the beginning of its id.
    """
    config = document.get("Config") or {}
    tags = [*(document.get("RepoTags") or ()), *(document.get("RepoDigests") or ())]
    return ImageFacts(
        name=name or next(iter(tags), "") or str(document.get("Id") or "").rpartition(":")[2][:12],
        user=str(config.get("User") or ""),
        health=tuple((config.get("Healthcheck") or {}).get("Test") or ()),
        env=tuple(config.get("Env") or ()),
        labels=dict(config.get("Labels") or {}),
        history=None if history is None else tuple(reversed([step for step in history if step.strip()])),
    )


def look_at_image(facts: ImageFacts) -> dict[str, Looked]:
    """Return what each rule about images says, by the slug of its control."""
    return {control.slug: _LOOKS[control.slug](facts) for control in IMAGE_CONTROLS}


def _found(evidence: t.Iterable[str], seen: str) -> Looked:
    found = tuple(dict.fromkeys(evidence))
    return Looked(found) if found else Looked(seen=seen)


def _user(facts: ImageFacts) -> Looked:
    name = facts.user.partition(":")[0]
    if name in ("", "root") or (name.isdigit() and int(name) == 0):
        return Looked((f"USER {facts.user}" if name else "no USER, so it is root",))
    return Looked(seen=facts.user)


def _base(facts: ImageFacts) -> Looked:
    if INPUT_LABEL in facts.labels:
        return Looked(seen="built by image_build, which refuses a base that is neither pinned nor of a recipe")
    return Looked(not_applicable="which bases are trusted, only who runs it knows; it was not built by image_build")


def _health(facts: ImageFacts) -> Looked:
    if facts.health and facts.health[0] != "NONE":
        return Looked(seen=" ".join(facts.health))
    return Looked(("HEALTHCHECK NONE" if facts.health else "no HEALTHCHECK",))


def _steps(facts: ImageFacts) -> list[str]:
    """Return the commands that built the image; what was said and not run is not among them."""
    return [step for step in facts.history or () if _RUN.match(step)]


def _shown(step: str) -> str:
    text = " ".join(redacted(step).split())
    return text if len(text) <= 160 else f"{text[:159]}…"


def _by_history(facts: ImageFacts, evidence: t.Iterable[str], seen: str) -> Looked:
    if facts.history is None:
        return Looked(not_applicable="the image's history was not asked for")
    return _found(evidence, seen)


def _update_alone(facts: ImageFacts) -> Looked:
    alone = (_shown(step) for step in _steps(facts) if _UPDATE.search(step) and not _INSTALL.search(step))
    return _by_history(facts, alone, "no step only fetches lists")


def _add(facts: ImageFacts) -> Looked:
    added = []
    layers = (step for step in facts.history or () if not _SAID.match(step))
    for number, step in enumerate(layers):
        match = _ADD.match(step)
        if match and not (number == 0 and _ROOT_FILES.fullmatch(match["what"])):
            added.append(_shown(step))
    return _by_history(facts, added, "no ADD")


def _secrets(facts: ImageFacts) -> Looked:
    history = facts.history or ()
    found = secrets_in_config(Config(env=facts.env, labels=facts.labels, history=history))
    evidence = tuple(dict.fromkeys(map(str, found)))
    if evidence:
        return Looked(evidence)
    return _by_history(facts, (), "none in environment, labels and history")


def _verified(facts: ImageFacts) -> Looked:
    return _by_history(
        facts,
        (f"{match[0].strip()}: {_shown(step)}" for step in _steps(facts) for match in _UNVERIFIED.finditer(step)),
        "no step turns verification off",
    )


def _elsewhere(rule: str) -> t.Callable[[ImageFacts], Looked]:
    return lambda _facts: Looked(unseen=_IMAGE_AUDIT.format(rule=rule))


def _not_here(why: str) -> t.Callable[[ImageFacts], Looked]:
    return lambda _facts: Looked(unseen=why)


_LOOKS: dict[str, t.Callable[[ImageFacts], Looked]] = {
    "image-user": _user,
    "image-base": _base,
    "image-packages": _elsewhere("package-manager"),
    "image-vulnerabilities": _elsewhere("vulnerabilities"),
    "content-trust": _not_here("Docker Content Trust is retired; releases pin digests, and depots are signed"),
    "image-health-check": _health,
    "image-update-alone": _update_alone,
    "image-setuid": _elsewhere("setuid"),
    "image-add": _add,
    "image-secrets": _secrets,
    "image-verified-packages": _verified,
    "image-signatures": _not_here("what a build fetched is not in the image; image_build pins bases and requirements"),
}
