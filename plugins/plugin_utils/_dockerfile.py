# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Read from a Dockerfile what it is built on. Pure: nothing here touches a file.

A Dockerfile names its bases by ARGs before its first FROM: C(ARG BASE_PYTHON=python:3.13-slim@sha256:…).
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(\S+)\s*")
_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
_ARG = re.compile(r"""([A-Za-z_][A-Za-z0-9_]*)(?:=("[^"]*"|'[^']*'|\S*))?""")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Arg:
    """An ARG instruction's argument; line is counted from 1."""

    name: str
    default: str | None
    line: int


@dataclass(frozen=True)
class Stage:
    """A FROM instruction: what it is built from, and the ARG that this names, if any."""

    source: str
    variable: str | None
    line: int


@dataclass(frozen=True)
class Dockerfile:
    """ARGs before the first FROM, names of all ARGs, what is pulled, and the line of a C(# syntax=) directive."""

    globals: tuple[Arg, ...]
    arg_names: frozenset[str]
    pulled: tuple[Stage, ...]
    syntax_line: int | None

    @property
    def bases(self) -> tuple[Arg, ...]:
        """ARGs that name a base."""
        return tuple(arg for arg in self.globals if arg.name.startswith("BASE_"))


def parse_dockerfile(text: str) -> Dockerfile:
    """Read the ARG and FROM instructions of a Dockerfile."""
    directives = _directives(text)
    globals_: list[Arg] = []
    names: set[str] = set()
    stages: set[str] = set()
    pulled: list[Stage] = []
    in_stage = False
    for line, keyword, rest in _instructions(text, directives.get("escape", ("\\", 0))[0]):
        if keyword == "ARG":
            args = [Arg(match[1], _unquoted(match[2]), line) for match in _ARG.finditer(rest)]
            names.update(arg.name for arg in args)
            globals_ += [] if in_stage else args
        elif keyword == "FROM":
            in_stage = True
            words = [word for word in rest.split() if not word.startswith("--")]
            source = words[0] if words else ""
            if source != "scratch" and source.lower() not in stages:
                variable = _VARIABLE.match(source)
                pulled.append(Stage(source, variable[1] if variable else None, line))
            if len(words) == 3:
                stages.add(words[2].lower())
    syntax = directives.get("syntax")
    return Dockerfile(tuple(globals_), frozenset(names), tuple(pulled), syntax[1] if syntax else None)


def _directives(text: str) -> dict[str, tuple[str, int]]:
    """Return the parser directives, which stand before everything else, with their lines."""
    found: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _DIRECTIVE.fullmatch(line)
        if match is None:
            break
        found[match[1].lower()] = (match[2], number)
    return found


def _instructions(text: str, escape: str) -> t.Iterator[tuple[int, str, str]]:
    """Return line, keyword and the rest of each instruction, continued lines joined, comments left out."""
    started, joined = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (joined and not line.strip()):
            continue
        started = started or number
        if line.rstrip().endswith(escape):
            joined += line.rstrip()[: -len(escape)] + " "
            continue
        match = _INSTRUCTION.fullmatch(joined + line)
        if match is not None:
            yield started, match[1].upper(), match[2].strip()
        started, joined = 0, ""


def _unquoted(value: str | None) -> str | None:
    if value and value[0] == value[-1] and value[0] in "\"'" and len(value) > 1:
        return value[1:-1]
    return value
