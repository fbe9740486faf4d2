# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Decide which images must be made and which old ones may go. Nothing here talks to an engine.

An image is done when its reference exists, its label says that it was made from the wanted input, and it is for the
wanted platform. References carry a tag of their content, so a new version never takes the reference of an old one.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Image, Layer
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import Platform, Target, tag_suffix

_REFERENCE = re.compile(r"([a-z0-9]+(?:[._/-]+[a-z0-9]+)*):([A-Za-z0-9_][A-Za-z0-9._-]{0,127})")
_DIGEST = re.compile(r"[0-9a-f]{64}")

# As many steps of an image that is too large are named.
_LARGEST = 3

Reason = t.Literal["", "missing", "input changed", "made by something else", "made for another platform"]


class ImagePlanError(Exception):
    """What is wanted makes no sense, or what is there breaks a limit; the message is for the user."""


@dataclass(frozen=True)
class Wanted:
    """An image that must exist, the digest of what it is made from, and what it is for. Sizes in bytes."""

    reference: str
    input: str
    max_size: int | None = None
    target: Target = field(default_factory=Target)

    def __post_init__(self) -> None:
        parts = _REFERENCE.fullmatch(self.reference)
        if parts is None or parts[2] == "latest":
            raise ImagePlanError(
                f"reference {self.reference!r} must be name:tag in lower case with the tag of its content, never latest"
            )
        if not _DIGEST.fullmatch(self.input):
            raise ImagePlanError(f"input of {self.reference} must be 64 lower-case hex digits, got {self.input!r}")
        if self.max_size is not None and self.max_size <= 0:
            raise ImagePlanError(f"max_size of {self.reference} must be a number of bytes above 0, got {self.max_size}")

    @property
    def name(self) -> str:
        """The reference without its tag."""
        return self.reference.rpartition(":")[0]

    @property
    def tag(self) -> str:
        """The reference's tag."""
        return self.reference.rpartition(":")[2]

    @property
    def suffix(self) -> str:
        """What ends the tags of all versions for a foreign platform; empty for the engine's own."""
        return tag_suffix(self.tag)

    def on(self, target: Target) -> Wanted:
        """Return the same image for another target than the engine's own."""
        reference, input_ = target.reference(self.reference), target.input(self.input)
        return replace(self, reference=reference, input=input_, target=target)

    def fits(self, image: Image) -> bool:
        """Whether an image is for the wanted platform; where none was asked for, any is."""
        return self.target.name is None or image.platform == self.target.name


@dataclass(frozen=True)
class Step:
    """What happens to one image, and why. Previous is the reference of the newest other version, if there is one.

    Skipped says why the image cannot be made on this host, if that is so.
    """

    wanted: Wanted
    reason: Reason
    found: Image | None = None
    previous: str | None = None
    skipped: str = ""

    @property
    def make(self) -> bool:
        """Whether the image must be made, and can be."""
        return self.reason != "" and not self.skipped

    @property
    def right(self) -> Image | None:
        """The image that is there and need not be made."""
        return self.found if self.reason == "" else None


@dataclass(frozen=True)
class Plan:
    """Steps in the order of the request."""

    steps: tuple[Step, ...]

    @property
    def to_make(self) -> tuple[Step, ...]:
        """The steps that make an image."""
        return tuple(step for step in self.steps if step.make)

    @property
    def changed(self) -> bool:
        """Whether anything is to be made."""
        return bool(self.to_make)

    @property
    def foreign(self) -> tuple[Platform, ...]:
        """The foreign platforms that images are to be made for, each once."""
        targets = (step.wanted.target for step in self.to_make)
        return tuple(dict.fromkeys(target.platform for target in targets if target.foreign and target.platform))

    def without(self, faults: t.Mapping[str, str]) -> Plan:
        """Return the plan that makes nothing for these platforms, for the reasons given by their names."""
        steps = (
            replace(step, skipped=faults.get(step.wanted.target.name or "", "")) if step.make else step
            for step in self.steps
        )
        return Plan(tuple(steps))

    @property
    def faults(self) -> tuple[str, ...]:
        """Why steps are skipped, each reason once."""
        return tuple(dict.fromkeys(step.skipped for step in self.steps if step.skipped))

    @property
    def diff(self) -> dict[str, dict[str, str | None]]:
        """The current reference of each image, before and after; of one for a foreign platform by name and suffix."""
        done = [(f"{step.wanted.name}{step.wanted.suffix}", step) for step in self.steps if not step.skipped]
        return {
            "before": {name: step.previous if step.make else step.wanted.reference for name, step in done},
            "after": {name: step.wanted.reference for name, step in done},
        }


def make_plan(
    wanted: t.Sequence[Wanted], found: t.Mapping[str, Image], versions: t.Mapping[str, t.Sequence[Image]]
) -> Plan:
    """Compare what is wanted with what the engine has.

    :param found: by reference, the wanted ones that exist.
    :param versions: by name, every image of ours with that name, to say what a new one follows.
    :raises ImagePlanError: the same reference is wanted twice, or an image that is right otherwise is too large.
    """
    references = [one.reference for one in wanted]
    for reference in references:
        if references.count(reference) > 1:
            raise ImagePlanError(f"reference {reference} is asked for {references.count(reference)} times; say it once")
    return Plan(tuple(_step(one, found.get(one.reference), versions.get(one.name, ())) for one in wanted))


def _step(wanted: Wanted, found: Image | None, versions: t.Sequence[Image]) -> Step:
    if found is not None and found.input == wanted.input and wanted.fits(found):
        assert_size(wanted, found)
        return Step(wanted, "", found)
    alike = _newest_first(wanted.name, wanted.suffix, versions)
    previous = alike[0][1][0] if alike else None
    if found is not None:
        other: Reason = "made by something else" if wanted.fits(found) else "made for another platform"
        return Step(wanted, other, found, previous)
    return Step(wanted, "missing" if previous is None else "input changed", None, previous)


def assert_size(wanted: Wanted, image: Image, layers: t.Sequence[Layer] = ()) -> None:
    """Refuse an image that is larger than its limit.

    :param layers: what the image is made of, to name the largest.
    :raises ImagePlanError: with both sizes and the way out.
    """
    if wanted.max_size is None or image.size <= wanted.max_size:
        return
    largest = sorted(layers, key=lambda layer: layer.size, reverse=True)[:_LARGEST]
    steps = "".join(f"\n  {_readable(layer.size):>9}  {layer.step}" for layer in largest if layer.size > 0)
    raise ImagePlanError(
        f"{wanted.reference} is too large: {_readable(image.size)}, and its max_size is {_readable(wanted.max_size)}. "
        f"Make it smaller, or raise max_size in stack.yml{'. Its largest steps:' + steps if steps else ''}"
    )


def prune(
    name: str,
    versions: t.Sequence[Image],
    keep: int,
    current: t.Collection[str],
    used: t.Collection[str],
    suffix: str = "",
) -> tuple[str, ...]:
    """Return the references of a name that may go: beyond the newest `keep`, not current, in no container.

    :param used: ids of the images of containers.
    :param suffix: what ends the tags of the versions in question; those of other platforms count for themselves.
    """
    return tuple(
        reference
        for place, (image, references) in enumerate(_newest_first(name, suffix, versions))
        for reference in references
        if place >= keep and image.id not in used and reference not in current
    )


def _newest_first(name: str, suffix: str, versions: t.Sequence[Image]) -> list[tuple[Image, list[str]]]:
    """Return the versions of a name for one platform, with their references of that name."""
    alike = ((image, _references(image, name, suffix)) for image in versions)
    return sorted((one for one in alike if one[1]), key=lambda one: one[0].tagged, reverse=True)


def _references(image: Image, name: str, suffix: str) -> list[str]:
    parts = ((reference, *reference.rpartition(":")[::2]) for reference in image.references)
    return [reference for reference, start, tag in parts if start == name and tag_suffix(tag) == suffix]


def _readable(size: int) -> str:
    return f"{size / 10**6:.1f} MB" if size >= 10**5 else f"{size} B"
