# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what builds took to figures, and from figures to tables. Pure."""

from __future__ import annotations

import statistics
import typing as t
from dataclasses import dataclass, field

BEGIN = "<!-- make bench-images writes from here -->"
END = "<!-- make bench-images writes to here -->"

# What is to be reached: bytes, seconds, and the least part of the naive image that must be gone.
API_BYTES, FRONTEND_BYTES, SMALLER = 180_000_000, 40_000_000, 0.60
COLD_SECONDS, NO_OP_SECONDS, CODE_SECONDS = 600.0, 2.0, 8.0


@dataclass
class Service:
    """An image of ours: bytes as the engine reports them, and of the naive one, or why there is none."""

    stack: str
    name: str
    family: str
    size: int
    ids: list[str] = field(default_factory=list)  # of each build from nothing
    naive: int | None = None
    why_not: str = ""
    code_seconds: list[float] = field(default_factory=list)  # of the build, and of the whole run
    code_run_seconds: list[float] = field(default_factory=list)

    @property
    def limit(self) -> int | None:
        return {"python": API_BYTES, "frontend": FRONTEND_BYTES}.get(self.family)

    @property
    def ratio(self) -> float | None:
        return round(self.size / self.naive, 3) if self.naive else None

    @property
    def is_reproducible(self) -> bool | None:
        """Whether builds from nothing gave the same image; None with less than two of them."""
        return len(set(self.ids)) == 1 if len(self.ids) > 1 else None


@dataclass
class Stack:
    """What whole runs took for a stack, in seconds, one entry a round."""

    name: str
    cold: list[float] = field(default_factory=list)
    no_op: list[float] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    no_modules: list[float] = field(default_factory=list)  # as many modules that do nothing


# A file of a context, and the family of services that has it.
FAMILIES = {
    "requirements.in": "python",
    "nginx.conf": "frontend",
    "redis.conf": "redis",
    "my.cnf": "mariadb",
    "postgresql.conf": "postgres",
    "prometheus.yml": "prometheus",
}


def family_of(files: t.Collection[str]) -> str:
    """Return which naive Dockerfile a service gets that has none of its own, by what is in its context."""
    return next((family for name, family in FAMILIES.items() if name in files), "")


def spread(values: t.Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def results(stacks: t.Sequence[Stack], about: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return all of it as it is stored."""
    return {
        **about,
        "cold_seconds_of_all": spread(all_cold(stacks)),
        "stacks": {
            stack.name: {
                "cold_seconds": spread(stack.cold),
                "no_op_seconds": spread(stack.no_op),
                "ansible_alone_seconds": spread(stack.no_modules),
                "services": {
                    service.name: {
                        "bytes": service.size,
                        "limit_bytes": service.limit,
                        "naive_bytes": service.naive,
                        **({"naive_not_measured": service.why_not} if service.why_not else {}),
                        "of_naive": service.ratio,
                        "code_only_seconds": spread(service.code_seconds),
                        "code_only_run_seconds": spread(service.code_run_seconds),
                        "same_image_twice": service.is_reproducible,
                        "ids": service.ids,
                    }
                    for service in stack.services
                },
            }
            for stack in stacks
        },
    }


def all_cold(stacks: t.Sequence[Stack]) -> list[float]:
    """Return what all stacks together took from nothing, a round each. Bases are made by the first that needs them."""
    return [sum(seconds) for seconds in zip(*(stack.cold for stack in stacks), strict=True)]


def tables(stacks: t.Sequence[Stack], about: t.Mapping[str, t.Any]) -> str:
    """Return all of it for people, in Markdown; what misses its figure is bold."""
    machine, run = about["machine"], about["run"]
    head = (
        f"{run['date']}, {machine['processor']}, {machine['cores']} cores, engine {run['engine']} in a lab host; "
        f"medians of {run['rounds']} rounds."
    )
    return "\n\n".join([head, _sizes(stacks), _times(stacks)])


def with_block(document: str, block: str, first: str = BEGIN, last: str = END) -> str:
    """Return the document with `block` between two lines; raises ValueError where it has not one pair of them."""
    before, begin, rest = document.partition(first)
    _old, end, after = rest.partition(last)
    if not begin or not end or first in rest or last in after:
        raise ValueError(f"the document must have one line {first} and after it one line {last}")
    return f"{before}{first}\n\n{block.strip()}\n\n{last}{after}"


def _sizes(stacks: t.Sequence[Stack]) -> str:
    rows = []
    for service in (service for stack in stacks for service in stack.services):
        gone = None if service.ratio is None else 1 - service.ratio
        rows.append(
            [
                f"{service.stack}/{service.name}",
                _judged(_megabytes(service.size), service.limit is None or service.size <= service.limit),
                "" if service.limit is None else _megabytes(service.limit),
                service.why_not or ("" if service.naive is None else _megabytes(service.naive)),
                "" if gone is None else _judged(f"{100 * gone:.0f} %", gone >= SMALLER),
                _judged(_median(service.code_seconds), _within(service.code_seconds, CODE_SECONDS)),
                _median(service.code_run_seconds),
                {True: "yes", False: "**no**", None: ""}[service.is_reproducible],
            ]
        )
    heads = [
        "image",
        "MB",
        "at most",
        "naive MB",
        "smaller by (60 %)",
        "code-only, s (8)",
        "whole run, s",
        "same",
    ]
    return _markdown(heads, rows)


def _times(stacks: t.Sequence[Stack]) -> str:
    rows = [
        [
            stack.name,
            _median(stack.cold),
            _judged(_median(stack.no_op), _within(stack.no_op, NO_OP_SECONDS)),
            _median(stack.no_modules),
        ]
        for stack in stacks
    ]
    whole = all_cold(stacks)
    rows.append(["all", _judged(_median(whole), _within(whole, COLD_SECONDS)), "", ""])
    return _markdown(["stack", "from nothing, s (all: 600)", "nothing to do, s (2)", "Ansible alone, s"], rows)


def _markdown(heads: t.Sequence[str], rows: t.Sequence[t.Sequence[str]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _median(values: t.Sequence[float]) -> str:
    return f"{statistics.median(values):.1f}" if values else ""


def _within(values: t.Sequence[float], limit: float) -> bool:
    return not values or statistics.median(values) <= limit


def _judged(words: str, is_reached: bool) -> str:
    return words if is_reached or not words else f"**{words}**"
