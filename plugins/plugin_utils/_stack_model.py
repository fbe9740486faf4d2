# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A stack file as typed data, every default filled in. Pure: nothing here touches a file."""

from __future__ import annotations

import dataclasses
import posixpath
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._units import seconds, size_in_bytes

Lifecycle = t.Literal["stateless", "stateful", "job", "ingress"]
ParameterType = t.Literal["str", "int", "port", "bool", "path"]
Strategy = t.Literal["recreate", "blue_green"]
Scalar = t.Union[str, int, bool]


@dataclass(frozen=True)
class Audit:
    """Where images may differ from the rules' defaults: plain rules by name, as stack.yml has them."""

    max_layers: int | None = None
    rules: t.Mapping[str, t.Mapping[str, t.Any]] = field(default_factory=dict)

    def over(self, other: Audit) -> Audit:
        """Return both as one; what this says goes before what the other says."""
        return Audit(self.max_layers or other.max_layers, {**other.rules, **self.rules})


@dataclass(frozen=True)
class Image:
    """How one service's image is built; paths are relative, max_size is in bytes; audit includes the stack's."""

    service: str
    context: str
    dockerfile: str
    args: t.Mapping[str, str]
    max_size: int | None
    audit: Audit = Audit()


@dataclass(frozen=True)
class ModelFile:
    """One file of a model, and its sources in the order to try.

    The size is in bytes, or a rough figure as it was written ("14GB"), or None where nothing is known.
    """

    path: str
    sha256: str
    size: int | str | None
    sources: tuple[str, ...]
    required: bool


@dataclass(frozen=True)
class Model:
    """One version of a model."""

    name: str
    version: str
    files: tuple[ModelFile, ...]


@dataclass(frozen=True)
class Parameter:
    """A typed value that hosts set; required when default is None."""

    type: ParameterType
    default: Scalar | None
    choices: tuple[str | int, ...]
    description: str


@dataclass(frozen=True)
class Secret:
    """A file that each host holds."""

    description: str


@dataclass(frozen=True)
class ContainerCheck:
    """How a container itself must be; None is what its lifecycle, or the gate, says."""

    state: str | None
    health: str | None
    restarts: int | None
    exit_code: int | None


@dataclass(frozen=True)
class ExecCheck:
    """A command to run in a container; timeout and max_latency are in seconds."""

    command: tuple[str, ...]
    exit_code: int
    expect_output: str | None
    timeout: float | None
    max_latency: float | None


@dataclass(frozen=True)
class HttpCheck:
    """A request to a container and what it must answer; max_latency is in seconds."""

    port: int
    path: str
    scheme: str
    method: str
    headers: t.Mapping[str, str]
    json: t.Any
    body: str | None
    body_file: str | None
    status: int
    expect: str | None
    max_latency: float | None


@dataclass(frozen=True)
class LogCheck:
    """What a line of a container's log must match, or no line may."""

    pattern: str
    absent: bool


@dataclass(frozen=True)
class TcpCheck:
    """A port that must accept connections; max_latency is in seconds."""

    port: int
    max_latency: float | None


Settings = t.Union[ContainerCheck, ExecCheck, HttpCheck, LogCheck, TcpCheck]
Check = t.Mapping[str, Settings]
"""One check of a gate: its kind, and the settings of that kind."""


@dataclass(frozen=True)
class Service:
    """What Compose cannot say about a service.

    `timeout` (seconds) and `irreversible` are a job's, `snapshot` is a stateful service's.
    """

    lifecycle: Lifecycle
    url: str | None
    gate: tuple[Check, ...]
    timeout: float | None = None
    irreversible: bool = False
    snapshot: tuple[str, ...] = ()


@dataclass(frozen=True)
class Busy:
    """A service, and one check of it that passes when the host may be disturbed."""

    service: str
    check: Check


@dataclass(frozen=True)
class Route:
    """Which requests go to a service: those of a path (and host), or the connections to a port of the host."""

    service: str
    port: int
    path: str | None
    host: str | None
    strip: bool
    tcp: str | None


@dataclass(frozen=True)
class Tls:
    """Where a certificate comes from: a secret's name, or C(fleet) for the fleet's own authority; one of them."""

    certificate: str | None
    authority: str | None


@dataclass(frozen=True)
class Ingress:
    """The door to the stateless services; ports of the host are as they were written, with parameters in them."""

    http: str | None
    https: str | None
    tls: Tls | None
    routes: tuple[Route, ...]


@dataclass(frozen=True)
class Rollout:
    """How a release is brought to a host; times are in seconds, None where nothing is said."""

    success_threshold: int
    gate_timeout: float
    strategy: Strategy | None = None
    soak: float | None = None
    drain: float | None = None
    busy_timeout: float | None = None


@dataclass(frozen=True)
class Stack:
    """A whole stack file."""

    name: str
    images: tuple[Image, ...]
    models: tuple[Model, ...]
    parameters: t.Mapping[str, Parameter]
    secrets: t.Mapping[str, Secret]
    services: t.Mapping[str, Service]
    rollout: Rollout
    ingress: Ingress | None = None
    busy: Busy | None = None


def make_stack(data: t.Mapping[str, t.Any], environment: str | None = None) -> Stack:
    """Normalise the data of a stack file that the schema let through, with its models in the list form.

    Its rollout is that of the environment, and there is an ingress only where that brings up sides.
    """
    rollout = _rollout(data.get("rollout", {}), environment, "ingress" in data)
    behind_ingress = "ingress" in data and rollout.strategy == "blue_green"
    return Stack(
        name=data["name"],
        images=tuple(
            _image(name, image, _audit(data.get("audit", {}))) for name, image in sorted(data.get("images", {}).items())
        ),
        models=make_models(data.get("models", [])),
        parameters={name: _parameter(item) for name, item in data.get("parameters", {}).items()},
        secrets={name: Secret(item.get("description", "")) for name, item in data.get("secrets", {}).items()},
        services={name: _service(item) for name, item in data["services"].items()},
        rollout=rollout,
        ingress=_ingress(data["ingress"]) if behind_ingress else None,
        busy=_busy(data["busy"]) if "busy" in data else None,
    )


def make_models(models: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Model, ...]:
    """Normalise models in the list form that the schema let through."""
    return tuple(sorted(map(_model, models), key=lambda model: (model.name, model.version)))


def plain(value: t.Any) -> t.Any:
    """Return data classes as dictionaries and tuples as lists, all the way down."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, t.Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def plain_service(service: Service) -> dict[str, t.Any]:
    """Return a service's declaration, without what only some services have and this one has not."""
    data: dict[str, t.Any] = plain(service)
    return {key: value for key, value in data.items() if value or key not in ("timeout", "irreversible", "snapshot")}


def plain_rollout(rollout: Rollout) -> dict[str, t.Any]:
    """Return a rollout without what nobody said."""
    data: dict[str, t.Any] = plain(rollout)
    return {key: value for key, value in data.items() if value is not None}


def plain_parameter(parameter: Parameter) -> dict[str, t.Any]:
    """Return a parameter's declaration; one without C(default) is required."""
    data: dict[str, t.Any] = plain(parameter)
    return {key: value for key, value in data.items() if not (key == "default" and value is None)}


def _audit(data: t.Mapping[str, t.Any]) -> Audit:
    return Audit(data.get("max_layers"), dict(data.get("rules", {})))


def _image(service: str, data: t.Mapping[str, t.Any], audit: Audit) -> Image:
    max_size = data.get("max_size")
    return Image(
        service=service,
        context=data["context"],
        dockerfile=posixpath.normpath(data.get("dockerfile", "Dockerfile")),
        args={key: str(value) for key, value in data.get("args", {}).items()},
        max_size=None if max_size is None else size_in_bytes(max_size),
        audit=_audit(data.get("audit", {})).over(audit),
    )


def _model(data: t.Mapping[str, t.Any]) -> Model:
    files = sorted(map(_model_file, data["files"]), key=lambda item: item.path)
    return Model(data["name"], data["version"], tuple(files))


def _model_file(data: t.Mapping[str, t.Any]) -> ModelFile:
    size = data.get("size")
    source = (data["source"],) if "source" in data else ()
    return ModelFile(
        path=data["path"],
        sha256=data["sha256"].removeprefix("sha256:"),
        size=int(size) if isinstance(size, str) and size.isdigit() else size,
        sources=(*source, *data.get("sources", ())),
        required=data.get("required", True),
    )


def _parameter(data: t.Mapping[str, t.Any]) -> Parameter:
    return Parameter(data["type"], data.get("default"), tuple(data.get("choices", ())), data.get("description", ""))


def _service(data: t.Mapping[str, t.Any]) -> Service:
    return Service(
        lifecycle=data["lifecycle"],
        url=data.get("url"),
        gate=tuple(map(_check, data.get("gate", []))),
        timeout=_duration(data.get("timeout")),
        irreversible=data.get("irreversible", False),
        snapshot=tuple(data.get("snapshot", ())),
    )


def _busy(data: t.Mapping[str, t.Any]) -> Busy:
    return Busy(data["service"], _check({kind: settings for kind, settings in data.items() if kind != "service"}))


def _check(data: t.Mapping[str, t.Any]) -> Check:
    ((kind, settings),) = data.items()
    return {kind: _CHECKS[kind](settings)}


def _container(data: t.Mapping[str, t.Any]) -> ContainerCheck:
    return ContainerCheck(data.get("state"), data.get("health"), data.get("restarts"), data.get("exit_code"))


def _exec(data: t.Mapping[str, t.Any]) -> ExecCheck:
    return ExecCheck(
        command=tuple(data["command"]),
        exit_code=data.get("exit_code", 0),
        expect_output=data.get("expect_output"),
        timeout=_duration(data.get("timeout")),
        max_latency=_duration(data.get("max_latency")),
    )


def _log(data: t.Mapping[str, t.Any]) -> LogCheck:
    return LogCheck(data["pattern"], data.get("absent", False))


def _tcp(data: t.Mapping[str, t.Any]) -> TcpCheck:
    return TcpCheck(data["port"], _duration(data.get("max_latency")))


def _http(data: t.Mapping[str, t.Any]) -> HttpCheck:
    body_file = data.get("body_file")
    return HttpCheck(
        port=data["port"],
        path=data["path"],
        scheme=data.get("scheme", "http"),
        method=data.get("method", "GET"),
        headers=dict(data.get("headers", {})),
        json=data.get("json"),
        body=data.get("body"),
        body_file=None if body_file is None else posixpath.normpath(body_file),
        status=data.get("status", 200),
        expect=data.get("expect"),
        max_latency=_duration(data.get("max_latency")),
    )


_CHECKS: dict[str, t.Callable[[t.Mapping[str, t.Any]], Settings]] = {
    "container": _container,
    "exec": _exec,
    "http": _http,
    "log": _log,
    "tcp": _tcp,
}


def _duration(value: str | float | None) -> float | None:
    return None if value is None else seconds(value)


def _rollout(data: t.Mapping[str, t.Any], environment: str | None, has_ingress: bool) -> Rollout:
    whole = {**data, **data.get("environments", {}).get(environment or "", {})}
    return Rollout(
        success_threshold=whole.get("success_threshold", 3),
        gate_timeout=seconds(whole.get("gate_timeout", 120)),
        strategy=whole.get("strategy", "blue_green" if has_ingress else None),
        soak=_duration(whole.get("soak")),
        drain=_duration(whole.get("drain")),
        busy_timeout=_duration(whole.get("busy_timeout")),
    )


def _ingress(data: t.Mapping[str, t.Any]) -> Ingress:
    tls = data.get("tls")
    return Ingress(
        http=_publish(data, "http"),
        https=_publish(data, "https"),
        tls=None if tls is None else Tls(tls.get("certificate"), tls.get("authority")),
        routes=tuple(_route(item) for item in data["routes"]),
    )


def _route(data: t.Mapping[str, t.Any]) -> Route:
    tcp = _publish(data, "tcp")
    return Route(
        service=data["service"],
        port=data["port"],
        path=None if tcp else data.get("path", "/"),
        host=data.get("host"),
        strip=data.get("strip", False),
        tcp=tcp,
    )


def _publish(data: t.Mapping[str, t.Any], key: str) -> str | None:
    return str(data[key]) if key in data else None
