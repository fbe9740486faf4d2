# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what was measured of depots to what is stored, and to tables. Pure."""

from __future__ import annotations

import dataclasses
import statistics
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.tests.bench.depot_peers import (
    APPLIERS,
    NAMES,
    STICK_READS,
    STICK_WRITERS,
    STICK_WRITES,
    VERIFIERS,
    WRITERS,
    Way,
)
from ansible_collections.emorobcare.fleet.tests.bench.release_report import judged, markdown, spread_words
from ansible_collections.emorobcare.fleet.tests.bench.release_stats import spread

BEGIN = "<!-- make bench-depot writes from here -->"
END = "<!-- make bench-depot writes to here -->"

# What is to be reached by ours: parts of the speed of cp and sync, and of plain hashing; parts of a release's bytes.
WRITE_SPEED, VERIFY_SPEED, PEAK, SECOND = 0.70, 0.90, 0.10, 0.02


@dataclass(frozen=True)
class Sample:
    """One measurement.

    `seconds`, also of parts; bytes `written`; bytes of disk beyond what is there in the end, and by how much it has
    `grown` by then; the machine's load average before it.
    """

    seconds: float
    written: int = 0
    peak_extra: int = 0
    steps: t.Mapping[str, float] = field(default_factory=dict)
    grown: int = 0
    load: float = 0.0


Samples = dict[Way, list[Sample]]


@dataclass
class Found:
    """All that was measured. `size` is the bytes of the first release: what its manifest says."""

    size: int = 0
    write: Samples = field(default_factory=dict)
    stick: Samples = field(default_factory=dict)
    second: Samples = field(default_factory=dict)
    warm: Samples = field(default_factory=dict)
    cold: Samples = field(default_factory=dict)
    apply: Samples = field(default_factory=dict)
    plays: dict[str, list[float]] = field(default_factory=dict)


PARTS = ("write", "stick", "second", "warm", "cold", "apply")


def results(found: Found, about: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return all of it as it is stored: what was summed up, and each sample."""
    parts = {part: {NAMES[way]: _stored(samples) for way, samples in of(found, part).items()} for part in PARTS}
    plays = {name: {"seconds": spread(seconds), "samples": seconds} for name, seconds in found.plays.items()}
    return {**about, "release_bytes": found.size, **parts, "whole_playbooks": plays}


def of(found: Found, part: str) -> Samples:
    return t.cast("Samples", getattr(found, part))


def _stored(samples: t.Sequence[Sample]) -> dict[str, t.Any]:
    return {
        "seconds": spread(one.seconds for one in samples),
        "written_bytes": spread(one.written for one in samples),
        "peak_extra_bytes": spread(one.peak_extra for one in samples),
        "samples": [dataclasses.asdict(one) for one in samples],
    }


def tables(found: Found, about: t.Mapping[str, t.Any]) -> str:
    """Return all of it for people, in Markdown; what misses its figure is bold."""
    machine, run = about["machine"], about["run"]
    loads = ", ".join(f"{load:g}" for load in run["load_average"])
    head = (
        f"{run['date']}, {machine['processor']}, {machine['cores']} cores, {machine['file_system']}, engine "
        f"{run['engine']} and skopeo {run['skopeo']} in a lab host; medians of {run['rounds']} rounds, in brackets "
        f"least and most. The release has {_megabytes(found.size)} MB. Load average before all and after each part: "
        f"{loads}."
    )
    parts = [head, _write(found), _stick(found), _second(found), _verify(found), _apply(found), _plays(found)]
    return "\n\n".join(part for part in parts if part)


def _write(found: Found) -> str:
    return _writing("writing a release", WRITERS, found.write, found.size)


def _stick(found: Found) -> str:
    title = f"writing it to a stick that writes {STICK_WRITES} and reads {STICK_READS} MB a second"
    return _writing(title, STICK_WRITERS, found.stick, found.size)


def _writing(title: str, order: t.Sequence[Way], found: Samples, size: int) -> str:
    if not found:
        return ""
    heads = [title, "s", "MB a second", f"of the speed of cp ({_percent(WRITE_SPEED)})", "MB written"]
    heads += ["of the release"]
    copy = _median(_seconds(found["copy"]))
    rows = []
    for way in _ways(order, found):
        samples = found[way]
        rows.append(_write_row(NAMES[way], size, _seconds(samples), copy, is_ours=way == "depot"))
        written = _median([one.written for one in samples])
        rows[-1] += [_megabytes(written), _percent(written / size)]
        if way == "depot":
            seconds = [one.seconds - one.steps["gather"] for one in samples]
            row = _write_row("depot, once the engine has given the images", size, seconds, copy, is_ours=True)
            rows.append([*row, "", ""])
    return markdown(heads, rows)


def _write_row(name: str, size: int, seconds: t.Sequence[float], copy: float, *, is_ours: bool) -> list[str]:
    speed = copy / _median(seconds)
    return [
        name,
        spread_words(seconds),
        f"{size / 1e6 / _median(seconds):.0f}",
        judged(_percent(speed), not is_ours or speed >= WRITE_SPEED),
    ]


def _second(found: Found) -> str:
    if not found.second:
        return ""
    heads = ["writing the next release, with one line of code changed", "s", "MB written"]
    heads += [f"of what the same way wrote first ({_percent(SECOND)})"]
    rows = []
    for way in _ways(WRITERS, found.second):
        size = _median([one.written for one in found.second[way]])
        part = size / _median([one.written for one in found.write[way]])
        rows.append(
            [
                NAMES[way],
                spread_words(_seconds(found.second[way])),
                f"{size / 1e6:.2f}",
                judged(f"{100 * part:.2f} %", way != "depot" or part <= SECOND),
            ]
        )
    return markdown(heads, rows)


def _verify(found: Found) -> str:
    if not found.warm:
        return ""
    heads = ["verifying", "in memory, s", f"of the speed of hashing ({_percent(VERIFY_SPEED)})", "from disk, s"]
    heads += [f"of the speed of hashing ({_percent(VERIFY_SPEED)})"]
    rows = []
    for way in _ways(VERIFIERS, found.warm):
        row = [NAMES[way]]
        for samples in (found.warm, found.cold):
            speed = _median(_seconds(samples["hash"])) / _median(_seconds(samples[way]))
            row += [spread_words(_seconds(samples[way]))]
            row += [judged(_percent(speed), way != "depot" or speed >= VERIFY_SPEED)]
        rows.append(row)
    return markdown(heads, rows)


def _apply(found: Found) -> str:
    if not found.apply:
        return ""
    heads = ["applying on a bare engine", "s", "of ours", "disk beyond the end, MB"]
    heads += [f"of the release ({_percent(PEAK)})"]
    ours = _median(_seconds(found.apply["depot"]))
    rows = []
    for way in _ways(APPLIERS, found.apply):
        samples = found.apply[way]
        peaks = [one.peak_extra for one in samples]
        part = _median(peaks) / found.size
        rows.append(
            [
                NAMES[way],
                spread_words(_seconds(samples)),
                f"{_median(_seconds(samples)) / ours:.2f}x",
                f"{_megabytes(_median(peaks))} ({_megabytes(min(peaks))} to {_megabytes(max(peaks))})",
                judged(_percent(part), way != "depot" or part <= PEAK),
            ]
        )
    return markdown(heads, rows)


def _plays(found: Found) -> str:
    if not found.plays:
        return ""
    rows = [[name, spread_words(seconds)] for name, seconds in found.plays.items()]
    return markdown(["whole runs of ansible-playbook", "s"], rows)


def _ways(order: t.Sequence[Way], samples: Samples) -> list[Way]:
    return [way for way in order if samples.get(way)]


def _seconds(samples: t.Iterable[Sample]) -> list[float]:
    return [one.seconds for one in samples]


def _median(values: t.Sequence[float]) -> float:
    return statistics.median(values)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f}"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"
