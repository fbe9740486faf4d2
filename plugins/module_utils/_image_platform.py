# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The platforms that images are made for, and what the image of a foreign one is called. Pure.

A platform is foreign to an engine that is of another one. The engine's own platform keeps an image's reference and
input as they are, so that a release says the same whether images are made for other platforms too. On a foreign one

| what | is |
|---|---|
| reference | that of the engine's own with the platform's suffix: `stack/api:1a1ae37794badc88-arm64` |
| input | the SHA-256 of the text `<input> <platform>`, as in `3072…9ac1 linux/arm64`, in lower-case hex |
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


class ImagePlatformError(Exception):
    """A platform cannot be asked for; the message is for the user."""


@dataclass(frozen=True)
class Platform:
    """A platform in the words of OCI images (architecture and variant, which may be empty) and in Debian's."""

    architecture: str
    variant: str
    debian: str

    @property
    def name(self) -> str:
        """How Docker writes it: linux/arm/v7."""
        return platform_name("linux", self.architecture, self.variant)

    @property
    def suffix(self) -> str:
        """What ends the tag of an image that is made for it as a foreign one."""
        return "".join(f"-{part}" for part in (self.architecture, self.variant) if part)


def platform_name(system: str, architecture: str, variant: str = "") -> str:
    """Return a platform's name from what an engine or an image says of it.

    Variants that say no more than the architecture go, as in the specification of OCI images: arm64 is v8. A 32-bit
    ARM without a variant is v7, the one that Debian's armhf is for.
    """
    if architecture == "arm64" and variant == "v8":
        variant = ""
    if architecture == "arm" and not variant:
        variant = "v7"
    return "/".join(part for part in (system, architecture, variant) if part)


def machine_architecture(machine: str) -> str:
    """Return an image's architecture for what the kernel calls the machine."""
    return _ARCHITECTURES.get(machine, machine)


PLATFORMS = (Platform("amd64", "", "amd64"), Platform("arm64", "", "arm64"), Platform("arm", "v7", "armhf"))
_BY_NAME = {platform.name: platform for platform in PLATFORMS}


@dataclass(frozen=True)
class Target:
    """What an image is made for. Without a platform it is whatever the engine makes by itself."""

    platform: Platform | None = None
    foreign: bool = False

    @property
    def name(self) -> str | None:
        """The platform's name, if one was asked for."""
        return None if self.platform is None else self.platform.name

    def reference(self, reference: str) -> str:
        """Return the reference of an image on this target, from that on the engine's own platform."""
        return f"{reference}{self.platform.suffix}" if self.foreign and self.platform else reference

    def input(self, input_: str) -> str:
        """Return the input of an image on this target, from that on the engine's own platform."""
        return platform_input(input_, self.platform) if self.foreign and self.platform else input_


def platform_input(input_: str, platform: Platform) -> str:
    """Return the SHA-256, in lower-case hex, of an input and a foreign platform's name with a space between them."""
    return hashlib.sha256(f"{input_} {platform.name}".encode()).hexdigest()


def parse_platforms(names: t.Sequence[str]) -> tuple[Platform, ...]:
    """Return the platforms of these names, in their order.

    :raises ImagePlatformError: with the place, what was said there and what is allowed.
    """
    for index, name in enumerate(names):
        if name not in _BY_NAME:
            raise ImagePlatformError(
                f"platforms[{index}] is {name!r}: use one of {', '.join(_BY_NAME)}, or leave platforms empty for the "
                "engine's own"
            )
        if name in names[:index]:
            raise ImagePlatformError(f"platforms[{index}] is {name!r}, which is there already; say it once")
    return tuple(_BY_NAME[name] for name in names)


def make_targets(platforms: t.Sequence[Platform], own: str) -> tuple[Target, ...]:
    """Return the targets for these platforms in an engine of platform `own`; without any, what it makes by itself."""
    return tuple(Target(platform, platform.name != own) for platform in platforms) or (Target(),)


def tag_suffix(tag: str) -> str:
    """Return the suffix of a foreign platform that ends a tag; an empty string where there is none."""
    return next((platform.suffix for platform in PLATFORMS if tag.endswith(platform.suffix)), "")
