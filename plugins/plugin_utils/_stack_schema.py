# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Hold stack.yml against its JSON Schema and say in people's words where it differs.

The schema says nothing by anyOf or oneOf, whose errors cannot name one cause: values that may have several types
list them under C(type), and relations between keys are in _stack_relations.
"""

from __future__ import annotations

import functools
import json
import pathlib
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    KeyPath,
    Problem,
    did_you_mean,
    one_of,
    show,
    unknown,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

if t.TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

SCHEMA_FILE = pathlib.Path(__file__).with_name("stack.schema.json")
"""The schema, also for editors."""

_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "empty",
}

_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}

Finding = tuple[KeyPath, str]


def schema_problems(document: Document, definition: str = "") -> list[Problem]:
    """Return everything in which a document differs from the schema, or from one of its definitions."""
    found: list[Problem] = []
    for error in _validator(definition).iter_errors(document.data):
        found += [document.problem(path, message) for path, message in _findings(error)]
    return found


@functools.cache
def _validator(definition: str) -> Validator:
    # Here and not above: it takes longer to load than a stack to check.
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    if definition:
        schema = {"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    return t.cast("Validator", extend(Draft202012Validator, {"pattern": _check_pattern})(schema))


def _check_pattern(_validator: Validator, pattern: str, instance: t.Any, _schema: t.Any) -> t.Iterator[ValidationError]:
    """Match as JSON Schema means it: in Python, C($) would also match before a last newline."""
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and (instance.endswith("\n") or not re.search(pattern, instance)):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _findings(error: ValidationError) -> list[Finding]:
    """Turn one error of the validator into one finding, or one for each unknown or missing key."""
    path = tuple(error.absolute_path)
    schema = t.cast("dict[str, t.Any]", error.schema)
    value: t.Any = error.instance
    if error.validator == "additionalProperties":
        allowed = sorted(schema["properties"])
        return [((*path, key), _unknown_key(key, value[key], allowed)) for key in value if key not in allowed]
    if error.validator == "required":
        # The validator reports each missing key by itself, naming it only in its message.
        missing = next(key for key in schema["required"] if error.message.startswith(repr(key)))
        return [(path, f"key {missing!r} is missing; needed: {one_of(schema['required'])}")]
    if "propertyNames" in error.absolute_schema_path:
        return [((*path, value), f"{show(value)} is not {_title(schema)}; allowed: {_allowed(schema)}")]
    return [(path, _value_message(error.validator, value, error.validator_value, schema))]


def _unknown_key(key: str, value: t.Any, allowed: t.Sequence[str]) -> str:
    # {description: Not here, not there} has the key "not there".
    comma = "; quote text that has a comma" if value is None and " " in key else ""
    return unknown("key", key, allowed) + comma


def _value_message(keyword: t.Any, value: t.Any, limit: t.Any, schema: dict[str, t.Any]) -> str:
    """Say what is wrong with a value that a keyword of the schema, with its limit, does not allow."""
    if keyword == "type":
        return _type_message(value, schema)
    if keyword == "enum":
        return f"{show(value)} is not allowed{did_you_mean(str(value), limit) or '.'} Allowed: {one_of(limit)}"
    if keyword in ("minItems", "minProperties", "minLength"):
        choices = f"; allowed: {one_of(sorted(schema['properties']))}" if "properties" in schema else ""
        return f"must not be empty{choices}"
    if keyword == "maxProperties":
        return f"has {len(value)} keys ({one_of(value)}); allowed: one"
    if keyword == "maxLength":
        return f"{show(value)} has {len(value)} characters; allowed: at most {limit}"
    if keyword == "uniqueItems":
        return f"{show(value)} has a value twice"
    return f"{show(value)} is not allowed; allowed: {_allowed(schema)}"


def _type_message(value: t.Any, schema: dict[str, t.Any]) -> str:
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    wanted = " or ".join(_KINDS[kind] for kind in types)
    if value is None:
        return f"is empty; must be {wanted}"
    hint = ""
    if "string" in types and isinstance(value, (bool, int, float)):
        hint = "; quote it"
    elif "integer" in types and isinstance(value, str) and re.fullmatch(r"[0-9]+", value):
        hint = "; remove the quotes"
    return f"{show(value)} is {_kind(value)}; must be {wanted}{hint}"


def _kind(value: t.Any) -> str:
    """Name a value's type as the schema would."""
    return _KINDS[_JSON_TYPES[type(value)]]


def _allowed(schema: dict[str, t.Any]) -> str:
    examples = ", ".join(show(example) for example in schema.get("examples", []))
    text = str(schema.get("description") or schema.get("title") or schema)
    return f"{text} ({examples})" if examples else text


def _title(schema: dict[str, t.Any]) -> str:
    title = str(schema["title"])
    return f"a {title[0].lower()}{title[1:]}"
