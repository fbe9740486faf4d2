# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From samples to figures, and from figures to a table. Pure."""

from __future__ import annotations

import statistics
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.emorobcare.fleet.tests.bench.models_cases import Case

BEGIN = "<!-- make bench-models writes from here -->"
END = "<!-- make bench-models writes to here -->"

# A peer that took so many seconds, and so many times ours, is measured once: how slow exactly does not matter.
SLOW_SECONDS, SLOW_RATIO = 8.0, 3.0

HEADER = (
    ("", "---"),
    ("s", "--:"),
    ("min to max", "--:"),
    ("on disk", "---"),
    ("CPU s", "--:"),
    ("server's CPU s", "--:"),
    ("peak MiB", "--:"),
    ("read back", "--:"),
    ("of the limit", "--:"),
    ("of ours", "--:"),
)


@dataclass(frozen=True)
class Sample:
    """One run of one peer. Times in seconds, the rest in bytes."""

    wall: float
    user: float
    system: float
    server_cpu: float
    peak_memory: int  # of the largest process
    read: int  # what read(2) and its kin gave to the processes, from files and, for some peers, from sockets
    read_from_disk: int
    read_back: int  # `read` without what came over the network

    @property
    def cpu(self) -> float:
        return self.user + self.system


@dataclass(frozen=True)
class Row:
    """A peer in a case: its samples, or why there are none."""

    peer: str
    against: str  # the peer that "ours" is for this one
    samples: tuple[Sample, ...] = ()
    why_not: str = ""
    sampled: int = 0  # so many of the case's files were fetched, and the figures multiplied; 0: all of them
    verifies: bool = True
    durable: bool = False

    @property
    def seconds(self) -> float:
        return statistics.median(sample.wall for sample in self.samples)


@dataclass(frozen=True)
class Limit:
    """The least times in seconds for the parts of the work, none of which can be left out; empty: there is none."""

    parts: t.Mapping[str, float]

    @property
    def seconds(self) -> float | None:
        return max(self.parts.values(), default=None)

    @property
    def part(self) -> str:
        return max(self.parts, key=lambda name: self.parts[name], default="")


Measured = tuple[Case, t.Sequence[Row], Limit]


def is_settled(walls: t.Sequence[float], ours: t.Sequence[float]) -> bool:
    """Whether a peer with these seconds so far needs no further round."""
    return bool(walls and ours) and min(walls) > SLOW_SECONDS and min(walls) > SLOW_RATIO * max(ours)


def multiplied(sample: Sample, factor: float) -> Sample:
    """Return what a run over `factor` times as many files would have taken; memory stays."""
    return Sample(
        wall=sample.wall * factor,
        user=sample.user * factor,
        system=sample.system * factor,
        server_cpu=sample.server_cpu * factor,
        peak_memory=sample.peak_memory,
        read=round(sample.read * factor),
        read_from_disk=round(sample.read_from_disk * factor),
        read_back=round(sample.read_back * factor),
    )


def ratio(value: float, to: float | None) -> float | None:
    """Return how many times `to` it is; None without anything to compare with."""
    return round(value / to, 3) if to else None


def ours_for(row: Row, rows: t.Sequence[Row]) -> float | None:
    """Return the seconds of ours that the row is held against."""
    return next((other.seconds for other in rows if other.peer == row.against and other.samples), None)


def spread(values: t.Sequence[float], digits: int = 4) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def row_figures(row: Row, rows: t.Sequence[Row], limit: Limit) -> dict[str, t.Any]:
    """Return a row as it is stored."""
    if not row.samples:
        return {"not_measured": row.why_not}
    figures: dict[str, t.Any] = {
        "wall_seconds": spread([sample.wall for sample in row.samples]),
        "cpu_seconds": spread([sample.cpu for sample in row.samples]),
        "server_cpu_seconds": spread([sample.server_cpu for sample in row.samples]),
        "peak_memory_bytes": max(sample.peak_memory for sample in row.samples),
        "verified": row.verifies,
        "durable": row.durable,
        "read_back_bytes": round(statistics.median(sample.read_back for sample in row.samples)),
        "of_the_limit": ratio(row.seconds, limit.seconds),
        "of_ours": ratio(row.seconds, ours_for(row, rows)),
        "ours": row.against,
        "samples": [
            {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(sample).items()}
            for sample in row.samples
        ],
    }
    return {**figures, "measured_with_files": row.sampled} if row.sampled else figures


def by_time(rows: t.Sequence[Row]) -> list[Row]:
    """Return the rows from fast to slow, and behind them those that were not measured."""
    return [*sorted((row for row in rows if row.samples), key=lambda row: row.seconds), *(r for r in rows if r.why_not)]


def times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x" if value < 100 else f"{value:.0f}x"


def cells(case: Case, row: Row, rows: t.Sequence[Row], limit: Limit) -> list[str]:
    """Return a measured row's cells."""
    walls = [sample.wall for sample in row.samples]
    back = statistics.median(sample.read_back for sample in row.samples) / case.bytes
    # Where a process for each file was started, most of what was read is those programs.
    read_back = "" if row.sampled else f"{back:.1f}x" if back >= 0.05 else "no"
    return [
        f"{row.peer} ({row.sampled} files, multiplied)" if row.sampled else row.peer,
        f"{row.seconds:.2f}",
        f"{min(walls):.2f} to {max(walls):.2f}" if len(walls) > 1 else "once",
        ("yes" if row.durable else "no") if case.kind == "fetch" else "",
        f"{statistics.median(sample.cpu for sample in row.samples):.2f}",
        f"{statistics.median(sample.server_cpu for sample in row.samples):.2f}",
        f"{max(sample.peak_memory for sample in row.samples) / (1 << 20):.0f}",
        read_back,
        times(ratio(row.seconds, limit.seconds)),
        times(ratio(row.seconds, ours_for(row, rows))),
    ]


def table(case: Case, rows: t.Sequence[Row], limit: Limit) -> str:
    """Return a case as a Markdown table."""
    lines = [[case.name, *(title for title, _align in HEADER[1:])], [align for _title, align in HEADER]]
    if limit.seconds is not None:
        parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in limit.parts.items())
        lines.append([f"*limit: {limit.part}*", f"*{limit.seconds:.2f}*", f"*{parts}*", *[""] * (len(HEADER) - 3)])
    for row in by_time(rows):
        measured = cells(case, row, rows, limit) if row.samples else None
        lines.append(measured or [row.peer, "", f"not measured: {row.why_not}", *[""] * (len(HEADER) - 3)])
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def results(measured: t.Sequence[Measured], about: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return all of it as it is stored."""
    return {
        **about,
        "cases": {
            case.name: {
                "bytes": case.bytes,
                "files": case.count,
                "limit_seconds": {part: round(seconds, 4) for part, seconds in limit.parts.items()},
                "peers": {row.peer: row_figures(row, rows, limit) for row in rows},
            }
            for case, rows, limit in measured
        },
    }


def tables(measured: t.Sequence[Measured], about: t.Mapping[str, t.Any]) -> str:
    """Return all of it for people, in Markdown."""
    machine, run = about["machine"], about["run"]
    scale = "" if run["scale"] == 1 else f" Sizes or counts of files are {run['scale']:g} of what the names say."
    memory = f"{machine['memory_bytes'] / (1 << 30):.0f} GiB"
    processor = f"{machine['processor']}, {machine['cores']} cores, {memory}"
    place = f"Linux {machine['kernel']}, {machine['file_system']}"
    head = f"{run['date']}, {processor}, {place}; medians of {run['rounds']} rounds.{scale}"
    tools = ", ".join(f"{name} {version}" for name, version in about["tools"].items() if version)
    return "\n\n".join([head, *(table(case, rows, limit) for case, rows, limit in measured), f"Versions: {tools}."])


def with_block(document: str, block: str) -> str:
    """Return the document with `block` between its markers; raises ValueError where it has not one pair of them."""
    before, begin, rest = document.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"the document must have one line {BEGIN} and after it one line {END}")
    return f"{before}{BEGIN}\n\n{block.strip()}\n\n{END}{after}"
