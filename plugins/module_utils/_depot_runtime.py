# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The controller's runtime in a depot: its files, and how a host with Python alone makes an environment of it. Pure.

requirements.txt          the lock file
wheels/                   what it pins, for each Python that hosts have
pip-<version>-….whl       pip itself, which Debian's python3 lacks; it runs out of its own wheel
<namespace>-<name>-….tar  this collection
README.txt                the three commands for doing it by hand
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical, digest

LOCK = "requirements.txt"
WHEELS = "wheels"
README = "README.txt"
CURRENT = "current"
DONE = "runtime.json"
"""Written into an environment last: one without it was not finished."""

_PIP = re.compile(r"pip-[^/]+\.whl")
_COLLECTION = re.compile(r"[a-z0-9_]+-[a-z0-9_]+-[0-9][^/]*\.tar(\.gz)?")
_FLAGS = ("--isolated", "--no-index", "--no-deps", "--require-hashes", "--no-cache-dir", "--disable-pip-version-check")


@dataclass(frozen=True)
class Runtime:
    """A runtime's files, SHA-256 by path; and what two of them are called."""

    files: t.Mapping[str, str]
    pip: str
    collection: str

    def id(self, python: str) -> str:
        """Return what the environment is called that a Python ("3.13") makes of it: a digest of both."""
        return digest(canonical({"files": dict(self.files), "python": python}))


def read_runtime(files: t.Mapping[str, str], shown: str) -> Runtime:
    """Find a runtime's parts among files.

    Raises:
        DepotError: it lacks a part, or has one twice (`blob_missing`).
    """
    parts = {}
    for what, form in (("pip-….whl", _PIP), ("collection's archive", _COLLECTION)):
        found = [path for path in sorted(files) if form.fullmatch(path)]
        if len(found) != 1:
            raise _incomplete(shown, f"it has {', '.join(found) or 'no'} {what}, and should have one")
        parts[what] = found[0]
    if LOCK not in files:
        raise _incomplete(shown, f"it has no {LOCK}")
    return Runtime(files, parts["pip-….whl"], parts["collection's archive"])


def _incomplete(shown: str, why: str) -> DepotError:
    return DepotError(
        f"{shown} is no whole runtime: {why}. Copy it again from the depot, or write it again "
        "(emorobcare.fleet.depot_runtime_build)",
        reason="blob_missing",
    )


def environment_argv(python: str, folder: str) -> list[str]:
    """Return the command that makes an empty environment; Debian's python3 can do that without pip."""
    return [python, "-m", "venv", "--without-pip", folder]


def install_argv(folder: str, source: str, runtime: Runtime) -> list[str]:
    """Return the command that installs the wheels: with pip out of its wheel, from that folder, by their digests."""
    pip = [f"{folder}/bin/python3", f"{source}/{runtime.pip}/pip", "install", "--quiet", "--root-user-action=ignore"]
    return [*pip, *_FLAGS, "--find-links", f"{source}/{WHEELS}", "--requirement", f"{source}/{LOCK}"]


def collection_argv(folder: str, python: str, archive: str) -> list[str]:
    """Return the command that puts the collection where this environment's ansible finds it without configuration."""
    packages = f"{folder}/lib/python{python}/site-packages"
    command = [f"{folder}/bin/ansible-galaxy", "collection", "install", "--offline", "--no-deps", "--force"]
    return [*command, "--collections-path", packages, archive]


def trial_argv(folder: str, collection: str) -> list[str]:
    """Return the command that shows whether ansible runs in an environment and finds the collection."""
    namespace, name = collection.split("-")[:2]
    return [f"{folder}/bin/ansible-doc", "--type", "module", "--list", f"{namespace}.{name}"]


def install_failure(said: str, python: str, lines: t.Sequence[str]) -> DepotError:
    """Return the error for what pip wrote."""
    missing = re.search(r"No matching distribution found for (\S+)", said)
    shown = "; ".join(lines)
    if missing:
        return DepotError(
            f"the runtime has no {missing[1]} for Python {python} on this machine; write it again with this Python "
            f"among pythons (emorobcare.fleet.depot_runtime_build); ansible-core 2.20 needs 3.12 or later. "
            f"pip said: {shown}",
            reason="wrong_hardware",
        )
    if re.search(r"DO NOT MATCH THE HASHES|HashMismatch|hashes are required", said, re.IGNORECASE):
        return DepotError(
            f"a wheel is not what {LOCK} pins; copy the runtime again from the depot. pip said: {shown}",
            reason="blob_corrupt",
        )
    return DepotError(f"pip could not install the runtime: {shown}", reason="io_error")


def instructions(pip: str, collection: str) -> bytes:
    """Return README.txt: how to do by hand, on the host, what module depot_runtime does."""
    return f"""What a controller of emorobcare.fleet needs besides Python 3.12 or later. No network is needed.

First have this folder copied and checked against the signed release: what is here is as good as the stick. Then, in
it, as root:

    python3 -m venv --without-pip /opt/fleet/by-hand
    /opt/fleet/by-hand/bin/python3 {pip}/pip install {" ".join(_FLAGS)} \\
        --find-links {WHEELS} --requirement {LOCK}
    /opt/fleet/by-hand/bin/ansible-galaxy collection install --offline --no-deps \\
        --collections-path /opt/fleet/by-hand/lib/python3.*/site-packages {collection}

From then on /opt/fleet/by-hand/bin/ansible-playbook finds the collection, as emorobcare.fleet.
""".encode()
