# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What is wrong with a stack's files, said in a way that a person can act on."""

from __future__ import annotations

import difflib
import json
import pathlib
import typing as t
from dataclasses import dataclass

KeyPath = tuple[t.Union[str, int], ...]
"""Where in a YAML document: keys and, for lists, indexes from 0."""

Finding = tuple[KeyPath, str]
"""A place in the document that is being checked, and what is wrong there."""

_SHOWN = 60


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: file (as shown to people), line from 1 if known, path in the document, message."""

    file: str
    line: int | None
    path: KeyPath
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(filter(None, (where, dotted(self.path), self.message)))


class StackFileError(Exception):
    """A stack cannot be used as it is; the message holds every problem found, for the user."""

    def __init__(self, problems: t.Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.file, p.line or 0, dotted(p.path), p.message)))
        lines = [str(problem) for problem in self.problems]
        super().__init__(lines[0] if len(lines) == 1 else f"{len(lines)} problems:\n" + "\n".join(lines))


def dotted(path: KeyPath) -> str:
    """Write a path as people do: C(services.api.gate[1].http.port)."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def show(value: t.Any) -> str:
    """Write a value as JSON, shortened to a line's part."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def shown(path: pathlib.Path) -> str:
    """Write a file's path as people would type it: relative when it is below the working directory."""
    try:
        return str(path.relative_to(pathlib.Path.cwd()))
    except ValueError:
        return str(path)


def one_of(names: t.Iterable[str]) -> str:
    """List what is allowed; C(nothing) when that is so."""
    return ", ".join(names) or "nothing"


def did_you_mean(name: str, names: t.Iterable[str]) -> str:
    """Return C(; did you mean 'x'?) when one of names is near, else an empty string."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(what: str, name: str, allowed: t.Iterable[str], label: str = "Allowed") -> str:
    """Say that C(name) is not known, what is near, and everything that is allowed."""
    names = list(allowed)
    hint = did_you_mean(name, names) or "."
    return f"unknown {what} {name!r}{hint} {label}: {one_of(names)}"
