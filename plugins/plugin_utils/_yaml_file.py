# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Read YAML into JSON's types, keeping the line of everything. Nothing here touches a file."""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass, field

import yaml

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import KeyPath, Problem, StackFileError

COMPOSE_TAGS = frozenset({"!reset", "!override"})
"""Tags of the Compose Specification's merge rules."""

_CORE = "tag:yaml.org,2002:"
_MERGE = f"{_CORE}merge"
_MAX_NODES = 100_000  # far above any real file: stops an alias that multiplies itself

# libyaml's parser where it is compiled in: ten times faster, same nodes and marks.
_LOADER: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Document:
    """A YAML document: its name for messages, plain data, the line of each path, and the Compose tag of each path."""

    file: str
    data: t.Any
    lines: t.Mapping[KeyPath, int] = field(default_factory=dict)
    tags: t.Mapping[KeyPath, str] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int | None:
        """Return the line of a path, or of the nearest thing around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """Return a problem at a path of this document."""
        return Problem(self.file, self.line(path), path, message)


def parse_yaml(file: str, content: bytes, tags: t.Collection[str] = ()) -> Document:
    """Read one YAML document.

    Keys are strings. Timestamps and numbers in base 60 stay strings, since JSON has neither. A key that is there
    twice is refused, and so is a tag that is not one of C(tags).

    Raises:
        StackFileError: it is not YAML, or not what JSON could say.
    """
    try:
        node = yaml.compose(content.decode("utf-8"), Loader=_LOADER)
    except UnicodeDecodeError as exc:
        raise StackFileError([Problem(file, None, (), f"not UTF-8 text (byte {exc.start}): {exc.reason}")]) from exc
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else None
        raise StackFileError([Problem(file, line, (), f"not YAML: {exc.problem or exc.context}")]) from exc
    except yaml.YAMLError as exc:
        raise StackFileError([Problem(file, None, (), f"not YAML: {' '.join(str(exc).split())}")]) from exc
    if node is None:
        raise StackFileError([Problem(file, None, (), "the file is empty")])
    reader = _Reader(file, frozenset(tags))
    data = reader.value(node, ())
    if reader.problems:
        raise StackFileError(reader.problems)
    return Document(file, data, reader.lines, reader.tags)


class _Reader:
    """Turns nodes into data, collecting lines, tags and problems on the way."""

    def __init__(self, file: str, tags: frozenset[str]) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {}
        self.tags: dict[KeyPath, str] = {}
        self.problems: list[Problem] = []
        self._allowed_tags = tags
        self._open: set[int] = set()
        self._nodes = 0

    def value(self, node: yaml.Node, path: KeyPath) -> t.Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise StackFileError([self._problem(node, path, f"more than {_MAX_NODES} values, aliases counted")])
        if id(node) in self._open:
            self.problems.append(self._problem(node, path, "an alias contains itself"))
            return None
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._open.add(id(node))
        try:
            self._note_tag(node, path)
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._scalar(t.cast("yaml.ScalarNode", node), path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, t.Any]:
        data: dict[str, t.Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(self._problem(key_node, path, "a key must be a plain word"))
                continue
            key = str(key_node.value)
            if key in data:
                first = self.lines[(*path, key)]
                self.problems.append(
                    self._problem(key_node, (*path, key), f"key {key!r} is already there, on line {first}")
                )
                continue
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            data[key] = self.value(value_node, (*path, key))
        return self._with_merged(data, merged, path)

    def _with_merged(self, data: dict[str, t.Any], merged: list[yaml.Node], path: KeyPath) -> dict[str, t.Any]:
        """Apply C(<<): keys of the mapping win, then the earlier of the merged ones."""
        for node in merged:
            if not isinstance(node, yaml.MappingNode):
                self.problems.append(self._problem(node, path, "only a mapping can be merged with '<<'"))
                continue
            other = _Reader(self.file, self._allowed_tags)
            other._open, other._nodes = self._open, self._nodes
            extra = other.value(node, path)
            self._nodes = other._nodes
            self.problems += other.problems
            for key in extra or {}:
                if key not in data:
                    data[key] = extra[key]
                    own = (*path, key)
                    self.lines.update({at: line for at, line in other.lines.items() if at[: len(own)] == own})
                    self.tags.update({at: tag for at, tag in other.tags.items() if at[: len(own)] == own})
        return data

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> t.Any:
        # A Compose tag hides what a plain scalar would be; ask the resolver again.
        text = node.value
        tag = _resolve(text) if node.tag in COMPOSE_TAGS and not node.style else node.tag
        kind = tag.removeprefix(_CORE)
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return yaml.SafeLoader.bool_values[text.lower()]
            if kind == "int" and ":" not in text:
                return _CONSTRUCTOR.construct_yaml_int(yaml.ScalarNode(tag, text))
            if kind == "float" and ":" not in text:
                return self._finite(float(_CONSTRUCTOR.construct_yaml_float(yaml.ScalarNode(tag, text))), node, path)
        except (ValueError, KeyError):
            self.problems.append(self._problem(node, path, f"{text!r} is not of the type {kind}"))
        return text

    def _finite(self, number: float, node: yaml.Node, path: KeyPath) -> float:
        if not math.isfinite(number):
            self.problems.append(self._problem(node, path, "must be a finite number"))
        return number

    def _note_tag(self, node: yaml.Node, path: KeyPath) -> None:
        if node.tag in self._allowed_tags:
            self.tags[path] = node.tag
        elif not node.tag.startswith(_CORE):
            allowed = f"; allowed: {', '.join(sorted(self._allowed_tags))}" if self._allowed_tags else ""
            self.problems.append(self._problem(node, path, f"tag {node.tag!r} is not allowed here{allowed}"))

    def _problem(self, node: yaml.Node, path: KeyPath, message: str) -> Problem:
        return Problem(self.file, node.start_mark.line + 1, path, message)


_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_RESOLVER = yaml.resolver.Resolver()


def _resolve(text: str) -> str:
    return str(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)))
