# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Which wheels of a lock file a Python on another machine needs, and which of them are there. For builders. Pure.

pip evaluates the conditions of a requirement for the Python that it runs on, whatever platform it downloads for, so
they are evaluated here. What names, tags and conditions mean is in the PyPA's specifications, which library packaging
implements.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

try:
    from packaging.markers import InvalidMarker, Marker
    from packaging.tags import Tag, compatible_tags, cpython_tags
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

    HAS_PACKAGING = True
except ImportError:
    HAS_PACKAGING = False

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}
_GLIBC = 36  # 2.36 is Debian 12's; Debian 13 has a later one, and takes the same wheels
_OLDEST = {"amd64": 5, "arm64": 17, "armhf": 17}  # the first glibc 2.x that wheels were ever made for
_LEGACY = {"amd64": ("manylinux2014", "manylinux2010", "manylinux1"), "arm64": ("manylinux2014",)}

_OLDEST_PIP = (23, 2)

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)\s*(?:;(?P<marker>.*))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?:\s|$)")


@dataclass(frozen=True)
class Pin:
    """A line of a lock file: exactly one version, by the SHA-256 of any of its files, where the marker holds."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]

    @property
    def line(self) -> str:
        """The pin as pip reads it, without its condition."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{one}" for one in sorted(self.hashes))])


@dataclass(frozen=True)
class Target:
    """A Python ("3.13") on Debian of an architecture, as Debian calls that."""

    python: str
    architecture: str

    @property
    def platforms(self) -> list[str]:
        """What pip calls the platforms whose wheels run there, the best first."""
        machine = _MACHINES[self.architecture]
        versions = range(_GLIBC, _OLDEST[self.architecture] - 1, -1)
        names = [f"manylinux_2_{minor}" for minor in versions]
        return [f"{name}_{machine}" for name in (*names, *_LEGACY.get(self.architecture, ("manylinux2014",)))]

    @property
    def version(self) -> tuple[int, int]:
        major, minor = self.python.split(".")
        return int(major), int(minor)


def check_target(target: Target) -> None:
    """Refuse a Python that is none.

    Raises:
        DepotError: `invalid`.
    """
    if not re.fullmatch(r"3\.[0-9]+", target.python):
        raise DepotError(f"pythons: {target.python!r} is no version such as 3.13", reason="invalid")


def check_library() -> None:
    """Refuse to work without library packaging.

    Raises:
        DepotError: `library_missing`.
    """
    if not HAS_PACKAGING:
        raise DepotError(
            "this Python lacks the library packaging, which ansible-core needs too: run the task with the controller's "
            "own (ansible_python_interpreter: '{{ ansible_playbook_python }}')",
            reason="library_missing",
        )


def parse_lock(text: str) -> tuple[Pin, ...]:
    """Read a lock file: lines `name==version ; marker --hash=sha256:…`, as pip-compile and uv write them.

    Raises:
        DepotError: a line is no pin, or has no digest (`invalid`).
    """
    pins = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        told = re.sub(r"(^|\s)#.*", "", line).strip()
        if not told:
            continue
        match = _PIN.fullmatch(_HASH.sub("", told + " ").strip())
        hashes = frozenset(_HASH.findall(told))
        if match is None or not hashes:
            raise DepotError(
                f"the lock file has a line {told[:80]!r}; each must be a pin with digests, such as 'jmespath==1.1.0 "
                "--hash=sha256:…'",
                reason="invalid",
            )
        pins.append(Pin(match["name"], match["version"], (match["marker"] or "").strip(), hashes))
    return tuple(pins)


def applying(pins: t.Iterable[Pin], target: Target) -> tuple[Pin, ...]:
    """Return the pins that count for a Python on a target.

    Raises:
        DepotError: a pin's condition is none (`invalid`).
    """
    environment = {
        "implementation_name": "cpython",
        "implementation_version": f"{target.python}.0",
        "os_name": "posix",
        "platform_machine": _MACHINES[target.architecture],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{target.python}.0",
        "python_version": target.python,
        "sys_platform": "linux",
    }
    found = []
    for pin in pins:
        try:
            if not pin.marker or Marker(pin.marker).evaluate(environment):
                found.append(pin)
        except InvalidMarker as exc:
            raise DepotError(
                f"the lock file's {pin.name} has a condition {pin.marker!r}: {exc}", reason="invalid"
            ) from exc
    return tuple(found)


def serving(pin: Pin, target: Target, files: t.Mapping[str, str]) -> list[str]:
    """Return which of some files, SHA-256 by name, are wheels of a pin that install on a target."""
    return [name for name, sha256 in sorted(files.items()) if sha256 in pin.hashes and _fits(name, pin, target)]


def _fits(file: str, pin: Pin, target: Target) -> bool:
    try:
        name, version, _build, tags = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return False
    same = name == canonicalize_name(pin.name) and str(version) == pin.version
    return same and not tags.isdisjoint(_tags(target))


def _tags(target: Target) -> frozenset[Tag]:
    interpreter = f"cp{target.python.replace('.', '')}"
    platforms = target.platforms
    return frozenset(
        [
            *cpython_tags(target.version, abis=[interpreter], platforms=platforms),
            *compatible_tags(target.version, interpreter, platforms),
        ]
    )


def newest_pip(paths: t.Sequence[str]) -> str:
    """Return the newest of pip's wheels.

    Raises:
        DepotError: none works on Python 3.12 and later (`library_missing`).
    """
    versions = {path: parse_wheel_filename(path.rpartition("/")[2])[1] for path in paths}
    newest = max(paths, key=lambda path: versions[path], default="")
    if not newest or versions[newest].release < _OLDEST_PIP:
        raise DepotError(
            f"this machine came with {newest or 'no wheel of pip'}, and pip runs on Python 3.12 from 23.2 on; run the "
            "task with a newer Python that has ensurepip, or install the Debian package python3-pip-whl of Debian 13",
            reason="library_missing",
        )
    return newest


def download_argv(python: str, target: Target, requirements: str, folder: str) -> list[str]:
    """Return the command that downloads the wheels of a requirements file for a target, checked by their digests."""
    platforms = [word for platform in target.platforms for word in ("--platform", platform)]
    return [
        *(python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", target.python, *platforms),
        *("--dest", folder, "--requirement", requirements),
    ]
