# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What differs by host: parameters, checked against the release's declarations, and secrets. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import INHERITED, INHERITED_PREFIX
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

SECRETS_VARIABLE = "FLEET_SECRETS"

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED_PREFIXES = (INHERITED_PREFIX, "COMPOSE_", "FLEET_")
_INTERPOLATION = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:?[-+?])(?P<rest>[^{}]*))?\})"
)


@dataclass(frozen=True)
class Settings:
    """A host's own values for a release.

    `digest` names them without telling anything about them: it is keyed. `versions` names each secret's value the
    same way.
    """

    digest: str
    parameters: t.Mapping[str, str]
    versions: t.Mapping[str, str]


def make_settings(parameters: t.Mapping[str, str], secrets: t.Mapping[str, bytes], key: str) -> Settings:
    """Combine checked parameters and known secrets.

    Args:
        key: the host's own random key, in hex. Without it the digest of a short secret could be guessed.
    """
    versions = {name: _keyed(key, name.encode() + b"\0" + value) for name, value in sorted(secrets.items())}
    return Settings(
        digest=_keyed(key, canonical({"parameters": parameters, "secrets": versions})),
        parameters=parameters,
        versions={name: version[:16] for name, version in versions.items()},
    )


def check_parameters(declared: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the value of every declared parameter as Compose gets it.

    Raises:
        ReleaseError: a parameter is unknown, required and missing, of another type, or not among its choices.
    """
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise _bad(unknown[0], f"the stack declares no such parameter; declared are: {_names(declared)}")
    return {name: _parameter(name, declaration, given.get(name)) for name, declaration in sorted(declared.items())}


def check_secrets(declared: t.Collection[str], given: t.Mapping[str, t.Any]) -> dict[str, bytes]:
    """Return the secrets that the task gives.

    Raises:
        ReleaseError: a secret is not declared, is no string or is empty. No message shows a value.
    """
    for name, value in sorted(given.items()):
        if name not in declared:
            raise ReleaseError(
                f"secrets: the stack declares no secret {name!r}; declared are: {_names(declared)}",
                reason="secret_invalid",
            )
        if not isinstance(value, str) or not value:
            raise ReleaseError(
                f"secrets: {name!r} must be a string that is not empty, not {type(value).__name__}; quote it in YAML",
                reason="secret_invalid",
            )
    return {name: value.encode() for name, value in given.items()}


def env_file(parameters: t.Mapping[str, str], secrets_folder: str) -> bytes:
    """Return the file that `docker compose --env-file` reads back to exactly these values."""
    values = {**parameters, SECRETS_VARIABLE: secrets_folder}
    return "".join(f"{name}={quote(value)}\n" for name, value in sorted(values.items())).encode()


def read_env(text: str) -> dict[str, str]:
    """Return the values of a file that `env_file` wrote."""
    lines = text.split("\n")[:-1]  # not splitlines, which cuts at more than line ends: a value may hold U+2028
    return {name: _unquoted(value) for name, _equals, value in (line.partition("=") for line in lines)}


def quote(value: str) -> str:
    """Return a value so that Compose's reader of env files gives it back unchanged.

    Single quotes keep everything, dollar signs too, but cannot hold a quote after a backslash nor end in one; double
    quotes can, with backslash, quote and dollar sign escaped. Source: compose-go's dotenv parser.
    """
    if "'" not in value and not value.endswith("\\"):
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _unquoted(text: str) -> str:
    inside = text[1:-1]
    return inside if text.startswith("'") else re.sub(r"\\(.)", r"\1", inside)


def interpolate(text: str, values: t.Mapping[str, str]) -> str:
    """Put parameters into a text as Compose would: C(${NAME}), C($NAME), C(${NAME:-default}), C($$)."""

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        found = values.get(match["bare"] or match["name"])
        operator, rest = match["operator"] or "", match["rest"] or ""
        usable = bool(found) if operator.startswith(":") else found is not None
        if operator.endswith("+"):
            return rest if usable else ""
        return t.cast(str, found) if usable else rest if operator.endswith("-") else ""

    return _INTERPOLATION.sub(value, text)


def _parameter(name: str, declaration: t.Mapping[str, t.Any], given: t.Any) -> str:
    if not _NAME.fullmatch(name) or name in (*INHERITED, "LC_ALL") or name.startswith(_RESERVED_PREFIXES):
        reserved = ", ".join(f"{prefix}…" for prefix in _RESERVED_PREFIXES)
        raise _bad(name, f"no name for a parameter: letters, digits, underscores; not PATH, HOME, LC_ALL, {reserved}")
    value = declaration.get("default") if given is None else given
    described = declaration.get("description")
    if value is None:
        raise _bad(name, f"it has no default and must be set{f' ({described})' if described else ''}")
    kind = declaration.get("type")
    reader = _READERS.get(str(kind))
    if reader is None:
        raise _bad(name, f"its type {kind!r} is none of {_names(_READERS)}")
    text, allowed = reader(value)
    if text is None:
        raise _bad(name, f"{value!r} is not allowed; it must be {allowed}")
    choices = [_text(choice) for choice in declaration.get("choices") or ()]
    if choices and text not in choices:
        raise _bad(name, f"{value!r} is not allowed; it must be one of {', '.join(choices)}")
    return text


_Read = tuple[t.Optional[str], str]


def _read_str(value: t.Any) -> _Read:
    allowed = "a string on one line (quote it in YAML)"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value), allowed
    return (str(value) if isinstance(value, str) and _one_line(value) else None), allowed


def _read_int(value: t.Any) -> _Read:
    return _whole(value), "a whole number"


def _read_port(value: t.Any) -> _Read:
    number = _whole(value)
    return (number if number is not None and 1 <= int(number) <= 65535 else None), "a port, from 1 to 65535"


def _read_bool(value: t.Any) -> _Read:
    word = _text(value).lower()
    return ("true" if word in _TRUE else "false" if word in _FALSE else None), "true or false"


def _read_path(value: t.Any) -> _Read:
    good = isinstance(value, str) and value.startswith("/") and _one_line(value)
    return (str(value) if good else None), "an absolute path"


_READERS: dict[str, t.Callable[[t.Any], _Read]] = {
    "str": _read_str,
    "int": _read_int,
    "port": _read_port,
    "bool": _read_bool,
    "path": _read_path,
}


def _whole(value: t.Any) -> str | None:
    """Return a whole number as text; command line and inventory give numbers as strings."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(int(value)) if re.fullmatch(r"-?[0-9]+", str(value)) else None


def _text(value: t.Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one_line(value: str) -> bool:
    return not any(ord(char) < 32 or ord(char) == 127 for char in value)


def _names(names: t.Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _keyed(key: str, value: bytes) -> str:
    return hmac.new(bytes.fromhex(key), value, hashlib.sha256).hexdigest()


def _bad(name: str, why: str) -> ReleaseError:
    return ReleaseError(f"parameters: {name}: {why}", reason="parameter_invalid")
