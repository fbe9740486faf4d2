# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What must hold inside stack.yml between one key and another, which a schema cannot say. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._model_manifest import model_findings
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    Finding,
    KeyPath,
    Problem,
    one_of,
    show,
    unknown,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_ingress import ingress_findings
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._units import seconds
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._variables import VariableError, variables
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

_BODIES = ("json", "body", "body_file")
_WITHOUT_BODY = ("GET", "HEAD")
_OF_JOBS = ("container", "log")


def _is_whole(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: dict[str, tuple[str, t.Callable[[t.Any], bool]]] = {
    "str": ("a string", lambda value: isinstance(value, str)),
    "int": ("a whole number", _is_whole),
    "port": ("a whole number from 1 to 65535", lambda value: _is_whole(value) and 1 <= value <= 65535),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "path": ("an absolute path", lambda value: isinstance(value, str) and value.startswith("/")),
}


def relation_problems(document: Document) -> list[Problem]:
    """Return every relation that the data of a stack file, which the schema let through, breaks."""
    data = document.data
    findings: list[Finding] = []
    for name, parameter in data.get("parameters", {}).items():
        findings += _parameter_findings(("parameters", name), parameter)
    for name in data.get("images", {}):
        if name not in data["services"]:
            findings.append((("images", name), unknown("service", name, data["services"], "Services")))
    models = data.get("models", [])
    if not isinstance(models, str):  # a file of its own, which is checked when it is read
        findings += [(("models", *at), message) for at, message in model_findings(models, one_version=True)]
    for name, service in data["services"].items():
        findings += _service_findings(("services", name), service, data.get("parameters", {}))
    findings += _rollout_findings(data)
    if "ingress" in data:
        findings += ingress_findings(data)
    return [document.problem(path, message) for path, message in findings]


def _rollout_findings(data: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    rollout = data.get("rollout", {})
    places: list[tuple[KeyPath, t.Mapping[str, t.Any]]] = [(("rollout",), rollout)]
    places += [(("rollout", "environments", name), one) for name, one in rollout.get("environments", {}).items()]
    for at, one in places:
        if one.get("strategy") == "blue_green" and "ingress" not in data:
            yield (*at, "strategy"), "sides need an ingress in front of them; add ingress, or use recreate"
    service = data.get("busy", {}).get("service")
    if service is None:
        return
    if service not in data["services"]:
        yield ("busy", "service"), unknown("service", service, data["services"], "Services")
    elif data["services"][service]["lifecycle"] == "job":
        yield ("busy", "service"), f"{show(service)} is a job, which cannot be asked; name a service that stays"
    for kind in _FINDINGS:
        if kind in data["busy"]:
            yield from _FINDINGS[kind](("busy", kind), data["busy"][kind])


def _parameter_findings(path: KeyPath, parameter: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    kind = parameter["type"]
    wanted, fits = _TYPES[kind]
    choices = parameter.get("choices", [])
    if choices and kind == "bool":
        yield (*path, "choices"), "a parameter of type bool has no choices; remove them"
        return
    for index, choice in enumerate(choices):
        if not fits(choice):
            yield (*path, "choices", index), f"{show(choice)} is not of type {kind}; must be {wanted}"
    if "default" not in parameter:
        return
    default = parameter["default"]
    if not fits(default):
        yield (*path, "default"), f"{show(default)} is not of type {kind}; must be {wanted}"
    elif isinstance(default, str) and not default.isprintable():
        yield (*path, "default"), f"{show(default)} has characters that an environment file cannot hold"
    elif choices and default not in choices:
        yield (*path, "default"), f"{show(default)} is not among the choices: {one_of(map(str, choices))}"


def _service_findings(
    path: KeyPath, service: t.Mapping[str, t.Any], parameters: t.Mapping[str, t.Any]
) -> t.Iterator[Finding]:
    yield from _gate_findings((*path, "gate"), service.get("gate", []), service["lifecycle"])
    for key, lifecycle in (("timeout", "job"), ("irreversible", "job"), ("snapshot", "stateful")):
        if key in service and service["lifecycle"] != lifecycle:
            yield (*path, key), f"only a service of lifecycle {lifecycle} has one; remove the key"
    try:
        used = variables(service.get("url", ""))
    except VariableError as exc:
        yield (*path, "url"), str(exc)
        return
    for variable in used:
        if variable.name not in parameters:
            yield (*path, "url"), unknown("parameter", variable.name, parameters, "Parameters")


def _gate_findings(path: KeyPath, gate: t.Sequence[t.Mapping[str, t.Any]], lifecycle: str) -> t.Iterator[Finding]:
    kinds = [kind for check in gate for kind in check]  # the schema lets each have one
    for index, kind in enumerate(kinds):
        at, settings = (*path, index, kind), gate[index][kind]
        if lifecycle == "job" and kind not in _OF_JOBS:
            yield at, f"a job has ended when the gate looks, and passes by its exit code; allowed: {one_of(_OF_JOBS)}"
        if kind == "container" and kind in kinds[:index]:
            yield at, "there is one before it; make them one"
        if kind in _FINDINGS:
            yield from _FINDINGS[kind](at, settings)
        if kind == "container":
            yield from _container_findings(at, settings, lifecycle)


def _container_findings(path: KeyPath, container: t.Mapping[str, t.Any], lifecycle: str) -> t.Iterator[Finding]:
    if lifecycle == "job":
        if container.get("state") == "running":
            yield (*path, "state"), "a job passes by ending; remove the key"
        if "health" in container:
            yield (*path, "health"), "a job has ended when the gate looks, and has none; remove the key"
        return
    if container.get("state") == "exited":
        yield (*path, "state"), "a service whose container ends is a job; set lifecycle to job"
    if "exit_code" in container:
        yield (*path, "exit_code"), "a container that must run has none; remove the key, or set lifecycle to job"


def _exec_findings(path: KeyPath, command: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    if not command["command"][0]:
        yield (*path, "command", 0), "is empty; must be a program"
    timeout, latency = command.get("timeout"), command.get("max_latency")
    if timeout and latency and seconds(latency) > seconds(timeout):
        at_most = f"at most timeout ({timeout}), which ends the command"
        yield (*path, "max_latency"), f"{show(latency)} is not allowed; allowed: {at_most}"
    if "expect_output" in command:
        yield from _regex_findings((*path, "expect_output"), command["expect_output"])


def _log_findings(path: KeyPath, log: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    yield from _regex_findings((*path, "pattern"), log["pattern"])


def _regex_findings(path: KeyPath, pattern: str) -> t.Iterator[Finding]:
    try:
        re.compile(pattern)
    except re.error as exc:
        yield path, f"{show(pattern)} is not a regular expression: {exc}"


def _http_findings(path: KeyPath, http: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    method = http.get("method", "GET")
    bodies = [key for key in _BODIES if key in http]
    if len(bodies) > 1:
        yield (*path, bodies[1]), f"give one body, not {len(bodies)}: {one_of(bodies)}"
    if bodies and method in _WITHOUT_BODY:
        yield (*path, bodies[0]), f"a {method} request has no body; set method, to POST for one"
    if "expect" not in http:
        return
    if method == "HEAD":
        yield (*path, "expect"), "a HEAD request has no answer to look into; set method to GET"
    fault = _jmespath_fault(http["expect"])
    if fault:
        yield (*path, "expect"), f"{show(http['expect'])} is not JMESPath: {fault}"


_FINDINGS: dict[str, t.Callable[[KeyPath, t.Mapping[str, t.Any]], t.Iterator[Finding]]] = {
    "exec": _exec_findings,
    "http": _http_findings,
    "log": _log_findings,
}


def _jmespath_fault(expression: str) -> str:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        jmespath.compile(expression)
    except JMESPathError as exc:
        return str(exc).splitlines()[0].rstrip(":")
    return ""
