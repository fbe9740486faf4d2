# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Read what a gate checks from a task or a release document. Pure."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    Check,
    ContainerCheck,
    ExecCheck,
    HttpCheck,
    LogCheck,
    ServiceGate,
    TcpCheck,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

LIFECYCLES = ("stateless", "stateful", "job", "ingress")
_SCHEMES = ("http", "https")
_STATES = ("running", "exited")
_HEALTHS = ("healthy", "any")
_MOST_RESTARTS = 1_000_000
_KEYS: dict[str, tuple[str, ...]] = {
    "container": ("state", "health", "restarts", "exit_code"),
    "exec": ("command", "exit_code", "expect_output", "timeout", "max_latency"),
    "http": (
        *("port", "path", "scheme", "method", "headers", "json", "body", "body_file", "status", "expect"),
        "max_latency",
    ),
    "log": ("pattern", "absent"),
    "tcp": ("port", "max_latency"),
}


def parse_services(data: t.Mapping[str, t.Any], where: str = "services") -> tuple[ServiceGate, ...]:
    """Read services and their checks.

    Raises:
        ReleaseError: a key, a value, a regular or a JMESPath expression is wrong (`gate_invalid`).
    """
    return tuple(_service(name, item, f"{where}.{name}") for name, item in sorted(data.items()))


def _service(name: str, data: t.Any, where: str) -> ServiceGate:
    if not isinstance(data, t.Mapping):
        raise _invalid(where, data, "a dictionary with lifecycle and gate")
    lifecycle = data.get("lifecycle") or "stateless"
    if lifecycle not in LIFECYCLES:
        raise _invalid(f"{where}.lifecycle", lifecycle, f"one of {', '.join(LIFECYCLES)}")
    items = data.get("gate") or ()
    if not isinstance(items, (list, tuple)):
        raise _invalid(f"{where}.gate", items, "a list of checks")
    state: ContainerCheck | None = None
    checks: list[Check] = []
    for index, item in enumerate(items):
        check = _check(item, f"{where}.gate[{index}]", lifecycle)
        if not isinstance(check, ContainerCheck):
            checks.append(check)
        elif state is None:
            state = check
        else:
            raise _refused(f"{where}.gate[{index}]", "there is a check of kind container before it; make them one")
    service = ServiceGate(name, lifecycle, tuple(checks), state)
    stray = next((check for check in checks if not isinstance(check, LogCheck)), None)
    if service.ends and stray is not None:
        what = "a job passes by ending with its exit code" if lifecycle == "job" else "its container must have ended"
        raise _refused(
            f"{where}.gate", f"{what}, so {stray.label!r} would find nobody; remove it (container and log may stay)"
        )
    return service


def _check(data: t.Any, where: str, lifecycle: str) -> Check | ContainerCheck:
    kind = next(iter(data), None) if isinstance(data, t.Mapping) and len(data) == 1 else None
    if kind not in _KEYS or not isinstance(data[kind], t.Mapping):
        raise _invalid(where, data, f"a dictionary with one key, {_one_of(_KEYS)}, that holds the check's settings")
    settings, where = data[kind], f"{where}.{kind}"
    unknown = sorted(set(settings) - set(_KEYS[kind]))
    if unknown:
        raise _invalid(where, unknown[0], f"keys among {', '.join(_KEYS[kind])}")
    if kind == "container":
        return _container(settings, where, lifecycle)
    return _READERS[kind](settings, where)


def _container(data: t.Mapping[str, t.Any], where: str, lifecycle: str) -> ContainerCheck:
    usual = "exited" if lifecycle == "job" else "running"
    state = _among(data.get("state") or usual, f"{where}.state", _STATES)
    if lifecycle == "job" and state == "running":
        raise _refused(f"{where}.state", "a job passes by ending; remove the key, or make it no job")
    if state == "running" and data.get("exit_code") is not None:
        raise _refused(f"{where}.exit_code", "a container that must run has none; set state to exited, or remove it")
    if state == "exited" and data.get("health") is not None:
        raise _refused(f"{where}.health", "a container that must have ended has none; remove it")
    health, restarts = data.get("health"), data.get("restarts")
    return ContainerCheck(
        state="exited" if state == "exited" else "running",
        health=t.cast("t.Literal['healthy', 'any']", _among(health, f"{where}.health", _HEALTHS)) if health else "",
        restarts=None if restarts is None else _number(restarts, f"{where}.restarts", 0, _MOST_RESTARTS),
        exit_code=_exit_code(data, where),
    )


def _http(data: t.Mapping[str, t.Any], where: str) -> HttpCheck:
    content_type, body = _body(data, where)
    return HttpCheck(
        port=_port(data, where),
        path=_path(data.get("path", "/"), f"{where}.path"),
        scheme=_among(data.get("scheme") or "http", f"{where}.scheme", _SCHEMES),
        method=str(data.get("method") or "GET").upper(),
        headers=_headers(data.get("headers") or {}, f"{where}.headers", content_type),
        body=body,
        body_file=_file(data.get("body_file"), f"{where}.body_file"),
        status=_number(data.get("status") or 200, f"{where}.status", 100, 599),
        expect=_check_expression(data.get("expect"), f"{where}.expect"),
        max_latency=_seconds(data.get("max_latency"), f"{where}.max_latency"),
    )


def _tcp(data: t.Mapping[str, t.Any], where: str) -> TcpCheck:
    return TcpCheck(_port(data, where), _seconds(data.get("max_latency"), f"{where}.max_latency"))


def _exec(data: t.Mapping[str, t.Any], where: str) -> ExecCheck:
    timeout = _seconds(data.get("timeout"), f"{where}.timeout")
    max_latency = _seconds(data.get("max_latency"), f"{where}.max_latency")
    if timeout and max_latency and max_latency > timeout:
        raise _invalid(f"{where}.max_latency", max_latency, f"at most timeout ({timeout:g}), which ends the command")
    return ExecCheck(
        command=_command(data.get("command"), f"{where}.command"),
        exit_code=_exit_code(data, where),
        expect_output=_regex(data.get("expect_output"), f"{where}.expect_output"),
        timeout=timeout,
        max_latency=max_latency,
    )


def _log(data: t.Mapping[str, t.Any], where: str) -> LogCheck:
    pattern = _regex(data.get("pattern"), f"{where}.pattern")
    if pattern is None:
        raise _invalid(f"{where}.pattern", pattern, "a regular expression")
    absent = data.get("absent")
    if absent is not None and not isinstance(absent, bool):
        raise _invalid(f"{where}.absent", absent, "true or false")
    return LogCheck(pattern, bool(absent))


_READERS: dict[str, t.Callable[[t.Mapping[str, t.Any], str], Check]] = {
    "exec": _exec,
    "http": _http,
    "log": _log,
    "tcp": _tcp,
}


def _command(value: t.Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(word, str) for word in value):
        raise _invalid(
            where, value, "a list of strings (quote numbers), the program first; for a shell write [sh, -c, …]"
        )
    if not value[0] or any("\0" in word for word in value):
        raise _invalid(where, value, "a program and its arguments, without null characters")
    return tuple(value)


def _regex(value: t.Any, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise _invalid(where, value, "a regular expression, as Python knows them")
    try:
        re.compile(value)
    except re.error as exc:
        raise _invalid(where, value, f"a regular expression ({exc})") from None
    return value


def _exit_code(data: t.Mapping[str, t.Any], where: str) -> int:
    code = data.get("exit_code")
    return 0 if code is None else _number(code, f"{where}.exit_code", 0, 255)


def _port(data: t.Mapping[str, t.Any], where: str) -> int:
    return _number(data.get("port"), f"{where}.port", 1, 65535)


def _body(http: t.Mapping[str, t.Any], where: str) -> tuple[str | None, bytes | None]:
    """Return the body to send and the content type that goes with it."""
    given = [key for key in ("json", "body", "body_file") if http.get(key) is not None]
    if len(given) > 1:
        raise ReleaseError(f"{where}: give at most one of {', '.join(given)}", reason="gate_invalid")
    if given == ["json"]:
        return "application/json", json.dumps(http["json"], ensure_ascii=False, separators=(",", ":")).encode()
    if given == ["body"]:
        return None, str(http["body"]).encode()
    return None, None


def _headers(data: t.Any, where: str, content_type: str | None) -> tuple[tuple[str, str], ...]:
    if not isinstance(data, t.Mapping):
        raise _invalid(where, data, "a dictionary")
    headers = {str(name): str(value) for name, value in data.items()}
    for name, value in headers.items():
        if not name.isascii() or any(char in name + value for char in "\r\n"):
            raise _invalid(f"{where}.{name}", value, "an ASCII name and a value on one line")
    if content_type and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = content_type
    return tuple(sorted(headers.items()))


def _path(value: t.Any, where: str) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isascii() or not value.isprintable():
        raise _invalid(where, value, "a path that begins with / (escape other than ASCII with %)")
    if " " in value:
        raise _invalid(where, value, "a path without spaces (write %20)")
    return value


def _file(value: t.Any, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value or value.startswith("/") or ".." in value.split("/"):
        raise _invalid(where, value, "a relative path that does not leave the folder of the gate's files")
    return value


def _among(value: t.Any, where: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise _invalid(where, value, f"one of {', '.join(allowed)}")
    return str(value)


def _number(value: t.Any, where: str, lowest: int, highest: int) -> int:
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise _invalid(where, value, f"a whole number from {lowest} to {highest}")
    return value


def _seconds(value: t.Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise _invalid(where, value, "a number of seconds above 0")
    return float(value)


def _check_expression(expression: t.Any, where: str) -> str | None:
    """Return an expression that can be compiled; where its library is missing, `require_library` will say so."""
    if expression is None:
        return None
    try:
        import jmespath
        from jmespath.exceptions import JMESPathError
    except ImportError:
        return str(expression)
    try:
        jmespath.compile(str(expression))
    except JMESPathError as exc:
        raise _invalid(where, expression, f"JMESPath ({str(exc).splitlines()[0]})") from None
    return str(expression)


def _one_of(names: t.Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _invalid(where: str, value: t.Any, allowed: str) -> ReleaseError:
    return _refused(where, f"{value!r} is not allowed; it must be {allowed}")


def _refused(where: str, why: str) -> ReleaseError:
    return ReleaseError(f"{where}: {why}", reason="gate_invalid")
