# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a gate checks, read from a task or a release document. Pure."""

from __future__ import annotations

import importlib
import json
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

LIFECYCLES = ("stateless", "stateful", "job", "ingress")
_SCHEMES = ("http", "https")
_KEYS = (
    *("port", "path", "scheme", "method", "headers", "json", "body", "body_file", "status", "expect", "max_latency"),
)


@dataclass(frozen=True)
class HttpCheck:
    """A request to a container and what it must answer; `max_latency` is in seconds.

    `body` is what is sent, already encoded; `body_file` is a path below the folder of the gate's files instead.
    """

    port: int
    path: str = "/"
    scheme: str = "http"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    body_file: str | None = None
    status: int = 200
    expect: str | None = None
    max_latency: float | None = None

    @property
    def label(self) -> str:
        return f"{self.scheme} {self.method} :{self.port}{self.path}"


@dataclass(frozen=True)
class ServiceGate:
    """The checks of one service; that its container is well is always among them."""

    name: str
    lifecycle: str = "stateless"
    http: tuple[HttpCheck, ...] = ()

    @property
    def is_job(self) -> bool:
        return self.lifecycle == "job"


@dataclass(frozen=True)
class Gate:
    """Every check must pass `success_threshold` times in a row within `timeout` seconds.

    A container that Docker restarted more than `max_restarts` times meanwhile has failed.
    """

    services: tuple[ServiceGate, ...]
    success_threshold: int = 3
    timeout: float = 120.0
    max_restarts: int = 3
    interval: float = 0.25


def parse_services(data: t.Mapping[str, t.Any], where: str = "services") -> tuple[ServiceGate, ...]:
    """Read services and their checks.

    Raises:
        ReleaseError: a key, a value or a JMESPath expression is wrong (`gate_invalid`).
    """
    return tuple(_service(name, item, f"{where}.{name}") for name, item in sorted(data.items()))


def require_library(services: t.Iterable[ServiceGate]) -> None:
    """Refuse when a check has `expect` and this host cannot read it.

    Raises:
        ReleaseError: with reason `library_missing`.
    """
    needed = next((service.name for service in services for check in service.http if check.expect), None)
    if needed is None:
        return
    try:
        importlib.import_module("jmespath")
    except ImportError:
        raise ReleaseError(
            f"the gate of service {needed} has a check with expect, which needs the Python library jmespath on this "
            "host; install it (Debian: python3-jmespath)",
            reason="library_missing",
        ) from None


def evaluate(expression: str, answer: t.Any) -> t.Any:
    """Return what a JMESPath expression finds in a JSON answer.

    Raises:
        ReleaseError: it cannot be applied to this answer.
    """
    import jmespath  # here and not above: hosts whose gates have no `expect` need no library
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.search(expression, answer)
    except JMESPathError as exc:
        raise ReleaseError(str(exc).splitlines()[0], reason="gate_invalid") from None


def body_files(services: t.Iterable[ServiceGate]) -> tuple[str, ...]:
    """Return the files that the checks send, each once."""
    return tuple(sorted({check.body_file for service in services for check in service.http if check.body_file}))


def _service(name: str, data: t.Any, where: str) -> ServiceGate:
    if not isinstance(data, t.Mapping):
        raise _invalid(where, data, "a dictionary with lifecycle and gate")
    lifecycle = data.get("lifecycle") or "stateless"
    if lifecycle not in LIFECYCLES:
        raise _invalid(f"{where}.lifecycle", lifecycle, f"one of {', '.join(LIFECYCLES)}")
    checks = data.get("gate") or ()
    if not isinstance(checks, (list, tuple)):
        raise _invalid(f"{where}.gate", checks, "a list of checks")
    if checks and lifecycle == "job":
        raise ReleaseError(
            f"{where}.gate: a job passes by ending with exit code 0 and answers no requests; remove its gate",
            reason="gate_invalid",
        )
    return ServiceGate(name, lifecycle, tuple(_check(item, f"{where}.gate[{i}]") for i, item in enumerate(checks)))


def _check(data: t.Any, where: str) -> HttpCheck:
    if not isinstance(data, t.Mapping) or list(data) != ["http"] or not isinstance(data["http"], t.Mapping):
        raise _invalid(where, data, "a dictionary with the one key http")
    http, where = data["http"], f"{where}.http"
    unknown = sorted(set(http) - set(_KEYS))
    if unknown:
        raise _invalid(where, unknown[0], f"keys among {', '.join(_KEYS)}")
    content_type, body = _body(http, where)
    return HttpCheck(
        port=_number(http.get("port"), f"{where}.port", 1, 65535),
        path=_path(http.get("path", "/"), f"{where}.path"),
        scheme=_among(http.get("scheme") or "http", f"{where}.scheme", _SCHEMES),
        method=str(http.get("method") or "GET").upper(),
        headers=_headers(http.get("headers") or {}, f"{where}.headers", content_type),
        body=body,
        body_file=_file(http.get("body_file"), f"{where}.body_file"),
        status=_number(http.get("status") or 200, f"{where}.status", 100, 599),
        expect=_check_expression(http.get("expect"), f"{where}.expect"),
        max_latency=_seconds(http.get("max_latency"), f"{where}.max_latency"),
    )


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


def _invalid(where: str, value: t.Any, allowed: str) -> ReleaseError:
    return ReleaseError(f"{where}: {value!r} is not allowed; it must be {allowed}", reason="gate_invalid")
