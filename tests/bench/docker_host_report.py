# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From restarts under load to what is stored, and to a table. Pure."""

from __future__ import annotations

import statistics
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.emorobcare.fleet.tests.bench.release_report import judged, markdown

BEGIN = "<!-- make bench-docker-host writes from here -->"
END = "<!-- make bench-docker-host writes to here -->"
LOST = 0  # requests that a restart as the module does it may lose

Way = t.Literal["plain", "live-restore", "held"]
WAYS: dict[Way, str] = {
    "plain": "`systemctl restart docker`",
    "live-restore": "the same, with live-restore",
    "held": "`docker_daemon`: live-restore, connections held",
}
ORIGINS = ("network", "own address", "loopback")


@dataclass(frozen=True)
class Restart:
    """One restart as clients at one place saw it; `longest` and `seconds` (of the command) in seconds.

    `faults` counts what was lost by what became of it.
    """

    release: str
    way: Way
    proxy: bool
    origin: str
    requests: int
    lost: int
    longest: float
    seconds: float
    faults: t.Mapping[str, int]


def results(found: t.Sequence[Restart], about: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {**about, "restarts": [asdict(one) for one in found]}


def table(found: t.Sequence[Restart], about: t.Mapping[str, t.Any]) -> str:
    """Return all of it for people, in Markdown; what misses its figure is bold."""
    machine, run = about["machine"], about["run"]
    head = (
        f"{run['date']}, {machine['processor']}, {machine['cores']} cores, {run['rounds']} restarts of each kind, load "
        f"average {run['load_average']:g} at the end; lost requests of all of them, the longest wait of one request in "
        "seconds (median, and the most), seconds of the command."
    )
    heads = ["restart", "engine", "userland-proxy", *(f"{origin}: lost, longest" for origin in ORIGINS), "s"]
    rows = []
    for release in dict.fromkeys(one.release for one in found):
        for proxy in (True, False):
            rows += [_row(found, release, way, proxy) for way in WAYS]
    return f"{head}\n\n{markdown(heads, [row for row in rows if row])}"


def _row(found: t.Sequence[Restart], release: str, way: Way, proxy: bool) -> list[str]:
    mine = [one for one in found if (one.release, one.way, one.proxy) == (release, way, proxy)]
    if not mine:
        return []
    cells = [_cell([one for one in mine if one.origin == origin], way) for origin in ORIGINS]
    seconds = statistics.median(one.seconds for one in mine)
    return [WAYS[way], release, "on" if proxy else "off", *cells, f"{seconds:.1f}"]


def _cell(mine: t.Sequence[Restart], way: Way) -> str:
    if not mine:
        return ""
    lost, requests = sum(one.lost for one in mine), sum(one.requests for one in mine)
    waits = [one.longest for one in mine]
    words = judged(str(lost), way != "held" or lost <= LOST)
    return f"{words} of {requests}, {statistics.median(waits):.2f} ({max(waits):.2f})"
