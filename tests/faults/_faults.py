# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold whatever goes wrong with a release, and the table of what was tried."""

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.tests.faults._releases import PYTHON, Result, docker
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides

HEAD = ("fault", "reason", "then serves", "next run")


class Record:
    """A row for each fault: what was said, what served then, and how the next run went."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []

    def row(self, fault: str, reason: str, serves: str, next_run: str) -> None:
        self._rows.append((fault, reason, serves, next_run))

    def __str__(self) -> str:
        """A table in Markdown, for docs/releases-faults.md."""
        rows = [HEAD, tuple("---" for _column in HEAD), *self._rows]
        return "\n".join(f"| {' | '.join(row)} |".replace("| --- ", "|---").replace("--- |", "---|") for row in rows)

    def __bool__(self) -> bool:
        return bool(self._rows)


def whole(sides: Sides, text: str, kept: str = "first") -> None:
    """The release of this text serves, whole and alone, and the journal says so."""
    journal = sides.journal()
    assert (journal["phase"], journal["candidate"]) == ("idle", None)
    colour = journal["committed"]["colour"]
    running = sides.running()
    assert set(running) - {f"-{colour}/load"} == {"-data/db", "-ingress/ingress", f"-{colour}/api"}
    api = running[f"-{colour}/api"]
    assert f"TEXT={text}" in api["Config"]["Env"]
    assert (sides.ask()["text"], sides.ask()["kept"]) == (text, kept)


def ids(sides: Sides) -> dict[str, str]:
    return {name: item["Id"] for name, item in sides.running().items()}


def inside(sides: Sides, container: str, code: str) -> str:
    """Run a line of Python in a container, named by project and service: `-data/db`."""
    return docker("exec", sides.running()[container]["Id"], PYTHON, "-S", "-c", code)


def next_run(result: Result, text: str) -> str:
    return f"brings {text}" if result["changed"] else "nothing to do"


def door(sides: Sides, **changes: t.Any) -> dict[str, t.Any]:
    """The ingress of a release document, with changes."""
    route = {"service": "api", "port": 8000, "path": "/", "host": None, "strip": False, "tcp": None}
    plain = {"image": sides.ingress, "http": f"127.0.0.1:{sides.port}", "https": None, "tls": None, "routes": [route]}
    return {**plain, **changes}
