# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Find the variables in a string of a Compose file. Pure.

The syntax is the Compose Specification's interpolation: C($NAME), C(${NAME}), C(${NAME:-default}), C(${NAME-default}),
C(${NAME:?message}), C(${NAME?message}), C(${NAME:+replacement}), C(${NAME+replacement}); C($$) is a dollar sign.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")


class VariableError(Exception):
    """A dollar sign begins nothing that Compose knows; the message is for the user."""


@dataclass(frozen=True)
class Variable:
    """A variable as it is used: optional when Compose has something to put there if nobody sets it."""

    name: str
    optional: bool


def variables(text: str) -> list[Variable]:
    """Return the variables of a string in the order of their use, those inside defaults included.

    Raises:
        VariableError: a dollar sign begins nothing that Compose knows.
    """
    return list(_scan(text))


def filled(text: str, values: t.Mapping[str, str]) -> str:
    """Return the text as Compose would fill it in; a variable that has no value and no default stays as it is.

    Raises:
        VariableError: a dollar sign begins nothing that Compose knows.
    """
    result, begin = "", 0
    at = text.find("$")
    while at >= 0:
        after = text[at + 1 : at + 2]
        name = _NAME.match(text, at + 1)
        if after == "$":
            end, value = at + 2, "$"
        elif after == "{":
            end = _closing(text, at + 2) + 1
            value = _value(text[at + 2 : end - 1], values)
        elif name is not None:
            end, value = name.end(), values.get(name[0], f"${{{name[0]}}}")
        else:
            raise VariableError(f"{text!r} has a dollar sign that begins no variable; write $$ for a dollar sign")
        result += text[begin:at] + value
        begin, at = end, text.find("$", end)
    return result + text[begin:]


def escape(text: str) -> str:
    """Return the text so that Compose reads it as it is."""
    return text.replace("$", "$$")


def _scan(text: str) -> t.Iterator[Variable]:
    at = text.find("$")
    while at >= 0:
        after = text[at + 1 : at + 2]
        if after == "$":
            end = at + 2
        elif after == "{":
            end = _closing(text, at + 2) + 1
            yield from _braced(text[at + 2 : end - 1], text)
        else:
            name = _NAME.match(text, at + 1)
            if name is None:
                raise VariableError(f"{text!r} has a dollar sign that begins no variable; write $$ for a dollar sign")
            yield Variable(name[0], optional=False)
            end = name.end()
        at = text.find("$", end)


def _value(inside: str, values: t.Mapping[str, str]) -> str:
    """Return what stands for C(${inside})."""
    name = _NAME.match(inside)
    operator = _OPERATOR.match(inside, name.end()) if name else None
    value = values.get(name[0]) if name else None
    if operator is None:
        return f"${{{inside}}}" if value is None else value
    given = value is not None and (value != "" or not operator[0].startswith(":"))
    rest = inside[operator.end() :]
    if operator[0].endswith("+"):
        return filled(rest, values) if given else ""
    if given and value is not None:
        return value
    return filled(rest, values) if operator[0].endswith("-") else f"${{{inside}}}"


def _closing(text: str, start: int) -> int:
    """Return the place of the brace that closes the one before start."""
    depth = 1
    for at in range(start, len(text)):
        if text.startswith("${", at):
            depth += 1
        elif text[at] == "}":
            depth -= 1
        if depth == 0:
            return at
    raise VariableError(f"{text!r} has a variable that is not closed by a brace")


def _braced(inside: str, text: str) -> t.Iterator[Variable]:
    name = _NAME.match(inside)
    if name is None:
        raise VariableError(f"{text!r} has ${{{inside}}}, which names no variable; write $$ for a dollar sign")
    rest = inside[name.end() :]
    operator = _OPERATOR.match(rest)
    if rest and operator is None:
        raise VariableError(
            f"{text!r} has ${{{inside}}}, which Compose cannot read; allowed after the name: - ? + :- :? :+"
        )
    optional = operator is not None and operator[0][-1] in "-+"
    yield Variable(name[0], optional)
    if operator is not None and optional:
        yield from _scan(rest[operator.end() :])
