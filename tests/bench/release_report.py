# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what was measured of releases to what is stored, and to tables. Pure."""

from __future__ import annotations

import dataclasses
import statistics
import typing as t

from ansible_collections.emorobcare.fleet.tests.bench.release_stats import PowerCut, Update, Wrk, spread

if t.TYPE_CHECKING:
    from ansible_collections.emorobcare.fleet.tests.bench.release_measure import Result, Series

BEGIN = "<!-- make bench-release writes from here -->"
END = "<!-- make bench-release writes to here -->"

# What is to be reached by ours, in seconds.
SERVES_SECONDS, NO_OP_SECONDS = 0.5, 1.5


def results(found: t.Sequence[Result], series: Series | None, about: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return all of it as it is stored: what was summed up, and each sample."""
    stacks: dict[str, dict[str, t.Any]] = {}
    for result in found:
        stacks.setdefault(result.peer.subject.name, {})[result.peer.name] = {
            "requests": sum(one.requests for one in result.updates),
            "failed": sum(one.failed for one in result.updates),
            **{name: spread(values(result, name)) for name in _TIMES},
            "no_op_seconds": spread(result.no_op),
            "exit_codes_other_than_0": sorted(result.codes),
            "served_after_power_cut_seconds": spread(cut.served_after for cut in result.cuts),
            "load_averages_before_updates": result.loads,
            "updates": [dataclasses.asdict(one) for one in result.updates],
            "no_ops": result.no_op,
            "power_cuts": [dataclasses.asdict(one) for one in result.cuts],
            "wrk_quiet": _plain(result.wrk_quiet),
            "wrk_with_an_update": _plain(result.wrk_update),
        }
    return {**about, "stacks": stacks, "series": _plain(series)}


_TIMES = ("without_service", "longest", "to_commit", "whole", "healthy_to_serves", "gate_to_serves", "mixed")


def values(result: Result, name: str) -> list[float | None]:
    return [t.cast("float | None", getattr(one, name)) for one in result.updates]


def tables(found: t.Sequence[Result], series: Series | None, about: t.Mapping[str, t.Any]) -> str:
    """Return all of it for people, in Markdown; what misses its figure is bold."""
    machine, run = about["machine"], about["run"]
    loads = ", ".join(f"{load:g}" for load in run["load_average"])
    head = (
        f"{run['date']}, {machine['processor']}, {machine['cores']} cores, engine {run['engine']} in a lab host; "
        f"medians of {run['rounds']} rounds, in brackets least and most. Load average before all and after each stack: "
        f"{loads}."
    )
    parts = [head]
    for name in dict.fromkeys(result.peer.subject.name for result in found):
        own = [result for result in found if result.peer.subject.name == name]
        parts += [_updates(name, own), _rest(name, own)]
    parts += [_series(series)] if series else []
    with_wrk = [result for result in found if result.wrk_quiet and result.wrk_update]
    parts += [_wrk(with_wrk)] if with_wrk else []
    return "\n\n".join(part for part in parts if part)


def _updates(name: str, found: t.Sequence[Result]) -> str:
    if not any(result.updates for result in found):
        return ""
    heads = [f"{name}: an update under load", "failed", "of", "without service, s", "longest answer, s"]
    heads += ["start to commit, s", "of ours", "healthy to serves, s", "gate to serves, s (0.5)", "both answer, s"]
    ours = statistics.median(one.to_commit for one in found[0].updates)
    rows = []
    for result in found:
        is_ours, ups = result.peer.way == "ours", result.updates
        failed, gate = sum(one.failed for one in ups), values(result, "gate_to_serves")
        must_not_fail = is_ours and result.peer.subject.marked
        rows.append(
            [
                result.peer.name,
                judged(f"{failed}", not (must_not_fail and failed)),
                f"{sum(one.requests for one in ups)}",
                spread_words(values(result, "without_service")),
                spread_words(values(result, "longest")),
                spread_words(values(result, "to_commit")),
                f"{statistics.median(one.to_commit for one in ups) / ours:.2f}x",
                spread_words(values(result, "healthy_to_serves")) if result.peer.way != "compose" else "",
                judged(spread_words(gate), not is_ours or _within(gate, SERVES_SECONDS)),
                spread_words(values(result, "mixed")) if result.peer.subject.marked else "",
            ]
        )
    return markdown(heads, rows)


def _rest(name: str, found: t.Sequence[Result]) -> str:
    if not any(result.no_op or result.cuts for result in found):
        return ""
    heads = [f"{name}: the rest", "nothing to do, s (1.5)", "of ours", "served after a power cut, s", "of ours"]
    heads += ["by", "containers then", "the same command again, s", "containers then"]
    ours = found[0]
    rows = []
    for result in found:
        is_ours, quick = result.peer.way == "ours", result.no_op
        cuts = [cut.served_after for cut in result.cuts]
        rows.append(
            [
                result.peer.name,
                judged(spread_words(quick), not is_ours or _within(quick, NO_OP_SECONDS)),
                _ratio(quick, ours.no_op),
                _in_time(cuts),
                _ratio(cuts, [cut.served_after for cut in ours.cuts]),
                _counted([cut.served_by for cut in result.cuts if cut.served_by]),
                _counted([_containers(cut.containers) for cut in result.cuts]),
                _repeated(result.cuts),
                _counted([_containers(cut.containers_after) for cut in result.cuts]),
            ]
        )
    return markdown(heads, rows)


def _containers(counts: t.Mapping[str, int]) -> str:
    return " and ".join(f"{count} {service}" for service, count in counts.items())


def _in_time(samples: t.Sequence[float | None]) -> str:
    late = samples.count(None)
    return ", ".join(filter(None, [spread_words(samples), f"{late} of {len(samples)} not in time" if late else ""]))


def _repeated(cuts: t.Sequence[PowerCut]) -> str:
    failed = sum(cut.repeated_well is False for cut in cuts)
    return spread_words([cut.repeated for cut in cuts]) + (f", {failed} of {len(cuts)} failed" if failed else "")


def _series(series: Series) -> str:
    failed = judged(f"{len(series.failures)} failed", not series.failures)
    words = (
        f"stack_release, {series.updates} updates and {series.rollbacks} rollbacks in {series.seconds:.0f} s, one "
        f"after the other under a load that never stopped: {series.requests} requests, {failed}, "
        f"{series.without_service:g} s without service; {series.web_sockets_closed} times a WebSocket was closed and "
        f"had again at once; {spread_words(series.commit_seconds)} s from start to commit, of which up to 3 s wait for "
        "WebSockets."
    )
    rows = [
        [what, *(f"{value:g}" for value in (one.p50, one.p99, one.worst)), f"{one.requests}"]
        for what, one in (
            ("all kinds, nothing else going on", series.quiet),
            ("all kinds, during updates and rollbacks", series.during),
            ("small on new connections, nothing else going on", series.small_quiet),
            ("small on new connections, during updates and rollbacks", series.small_during),
        )
        if one is not None
    ]
    return f"{words}\n\n" + markdown(["answers, in ms", "p50", "p99", "longest", "requests"], rows)


def _wrk(found: t.Sequence[Result]) -> str:
    heads = ["wrk, 8 connections", "answers a second", "p50, ms", "p99, ms", "failed"]
    heads += ["with an update in it", "p50, ms", "p99, ms", "failed"]
    rows = []
    for result in found:
        quiet, busy = t.cast(Wrk, result.wrk_quiet), t.cast(Wrk, result.wrk_update)
        is_well = result.peer.way != "ours" or not quiet.failed + busy.failed
        row = [result.peer.name]
        row += [f"{quiet.rate:.0f}", f"{quiet.p50:g}", f"{quiet.p99:g}", f"{quiet.failed}"]
        row += [f"{busy.rate:.0f}", f"{busy.p50:g}", f"{busy.p99:g}", judged(f"{busy.failed}", is_well)]
        rows.append(row)
    return markdown(heads, rows)


def _plain(data: Series | Wrk | Update | None) -> dict[str, t.Any] | None:
    return None if data is None else dataclasses.asdict(data)


def spread_words(samples: t.Iterable[float | None]) -> str:
    """Return the median and, where there are others, the least and the most, in seconds."""
    found = spread(samples)
    if found is None:
        return ""
    median, least, most = (_seconds(found[name]) for name in ("median", "min", "max"))
    return median if least == most else f"{median} ({least} to {most})"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _ratio(samples: t.Iterable[float | None], ours: t.Iterable[float | None]) -> str:
    one, other = spread(samples), spread(ours)
    return f"{one['median'] / other['median']:.2f}x" if one and other and other["median"] else ""


def _within(samples: t.Iterable[float | None], limit: float) -> bool:
    found = spread(samples)
    return found is None or found["median"] <= limit


def _counted(words: t.Sequence[str]) -> str:
    counts = {word: words.count(word) for word in dict.fromkeys(words)}
    return (
        next(iter(counts), "") if len(counts) < 2 else ", ".join(f"{word}: {count}x" for word, count in counts.items())
    )


def markdown(heads: t.Sequence[str], rows: t.Sequence[t.Sequence[str]]) -> str:
    """Return a table whose first column is of words and whose others are of figures."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def judged(words: str, is_reached: bool) -> str:
    """Return words, bold where a figure is missed."""
    return words if is_reached or not words else f"**{words}**"
