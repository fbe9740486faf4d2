# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the audit knows of an image: plain data, read by whoever looks and judged by the rules."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

FACTS_VERSION = 1
"""Raised whenever the reading of layers changes, so that facts that were kept are read anew."""

# Kinds of entries: file, hard link, symbolic link, directory, any other, deleted below, all deleted below.
FILE, HARD_LINK, LINK, DIRECTORY, OTHER, WHITEOUT, OPAQUE = "f", "h", "l", "d", "c", "w", "o"


@dataclass(frozen=True)
class Entry:
    """Something at an absolute path of a layer. Size in bytes; target of links."""

    path: str
    kind: str = FILE
    mode: int = 0o644
    size: int = 0
    target: str = ""


@dataclass(frozen=True)
class Secret:
    """Something that looks like a secret: where, what kind, and a hint that does not give it away.

    Line from 1; 0 where it is not in a line.
    """

    place: str
    kind: str
    line: int = 0
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.place}:{self.line}" if self.line else self.place
        return f"{place}: {self.kind}{f' ({self.hint})' if self.hint else ''}"


@dataclass(frozen=True)
class LayerFacts:
    """What is in one layer, by its diff id. Size in bytes, of its files' contents."""

    diff_id: str
    entries: tuple[Entry, ...]
    secrets: tuple[Secret, ...] = ()

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries)

    def as_json(self) -> dict[str, t.Any]:
        return {
            "version": FACTS_VERSION,
            "entries": [[e.path, e.kind, e.mode, e.size, e.target] for e in self.entries],
            "secrets": [[s.place, s.kind, s.line, s.hint] for s in self.secrets],
        }

    @classmethod
    def from_json(cls, diff_id: str, data: t.Any) -> LayerFacts | None:
        """Read what as_json gave; None for anything else."""
        try:
            if data["version"] != FACTS_VERSION:
                return None
            entries = tuple(Entry(*entry) for entry in data["entries"])
            return cls(diff_id, entries, tuple(Secret(*secret) for secret in data["secrets"]))
        except (KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Config:
    """An image's configuration. Commands of history are those that made layers or not, oldest first."""

    user: str = ""
    env: tuple[str, ...] = ()
    labels: t.Mapping[str, str] = field(default_factory=dict)
    health: tuple[str, ...] = ()
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    created: str = ""
    diff_ids: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    empty: tuple[bool, ...] = ()

    @property
    def steps(self) -> tuple[str, ...]:
        """The command that made each layer, as far as the history says."""
        steps = [step for step, empty in zip(self.history, self.empty) if not empty]
        steps += [""] * (len(self.diff_ids) - len(steps))
        return tuple(steps[: len(self.diff_ids)])


def read_config(raw: t.Mapping[str, t.Any]) -> Config:
    """Read an image's configuration in the form of the OCI and of Docker.

    :raises KeyError, TypeError, AttributeError: it is none.
    """
    config = raw.get("config") or {}
    history = raw.get("history") or []
    return Config(
        user=config.get("User") or "",
        env=tuple(config.get("Env") or ()),
        labels=dict(config.get("Labels") or {}),
        health=tuple((config.get("Healthcheck") or {}).get("Test") or ()),
        shell=tuple(config.get("Shell") or ("/bin/sh", "-c")),
        created=raw.get("created") or "",
        diff_ids=tuple(raw["rootfs"]["diff_ids"]),
        history=tuple(step.get("created_by") or step.get("comment") or "" for step in history),
        empty=tuple(bool(step.get("empty_layer")) for step in history),
    )


@dataclass(frozen=True)
class Probe:
    """What became of the health check's program: started, or why it could not."""

    started: bool
    said: str = ""


@dataclass(frozen=True)
class Base:
    """What a Dockerfile builds from: the reference, whether it is from a recipe of ours, its layers if known."""

    reference: str
    recipe: str | None = None
    diff_ids: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Outside:
    """What a program beside the engine found: its findings, or None and why there are none."""

    findings: tuple[str, ...] | None
    reason: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """All that the rules judge. Sizes in bytes; own_from is the index of the first layer above the base, if known."""

    service: str
    reference: str
    lifecycle: str
    size: int
    max_size: int
    max_layers: int
    config: Config
    layers: tuple[LayerFacts, ...]
    bases: tuple[Base, ...]
    probe: Probe | None
    lint: Outside
    vulnerabilities: Outside
    sbom: Outside

    @property
    def own_from(self) -> int | None:
        """How many layers are the base's: those of the longest base that the image begins with.

        With no base it is none. Where a base's layers are not known, nothing can be said unless another one fits.
        """
        mine = self.config.diff_ids
        fitting = [
            len(base.diff_ids) for base in self.bases if base.diff_ids and mine[: len(base.diff_ids)] == base.diff_ids
        ]
        if fitting:
            return max(fitting)
        return None if any(base.diff_ids is None for base in self.bases) else 0
