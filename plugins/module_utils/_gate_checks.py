# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a gate checks. Pure; `_gate_parse` reads it from a task or a release document."""

from __future__ import annotations

import importlib
import shlex
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

_LABEL = 60  # characters of a command or a pattern in a label


@dataclass(frozen=True)
class ContainerCheck:
    """How the container itself must be, where that is not what its lifecycle says.

    `health`: `any` does not look at the health check, `healthy` wants one; empty looks at it if there is one.
    `restarts`: how many by Docker are borne while the gate runs, instead of the gate's own number.
    """

    state: t.Literal["running", "exited"] = "running"
    health: t.Literal["", "healthy", "any"] = ""
    restarts: int | None = None
    exit_code: int = 0


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
class TcpCheck:
    """A port of a container that must accept a connection, within `max_latency` seconds."""

    port: int
    max_latency: float | None = None

    @property
    def label(self) -> str:
        return f"tcp :{self.port}"


@dataclass(frozen=True)
class ExecCheck:
    """A command to run in a container; it is killed after `timeout` seconds.

    `expect_output` is a regular expression to find in what it prints.
    """

    command: tuple[str, ...]
    exit_code: int = 0
    expect_output: str | None = None
    timeout: float | None = None
    max_latency: float | None = None

    @property
    def label(self) -> str:
        return f"exec {printable(' '.join(map(shlex.quote, self.command)), _LABEL)}"


@dataclass(frozen=True)
class LogCheck:
    """A regular expression that a line of this life of a container must match, or, if `absent`, that none may."""

    pattern: str
    absent: bool = False

    @property
    def label(self) -> str:
        return f"log {'without' if self.absent else 'with'} {printable(self.pattern, _LABEL)}"


Check = t.Union[HttpCheck, TcpCheck, ExecCheck, LogCheck]


@dataclass(frozen=True)
class ServiceGate:
    """The checks of one service; that its container is well is always among them."""

    name: str
    lifecycle: str = "stateless"
    checks: tuple[Check, ...] = ()
    container_check: ContainerCheck | None = None

    @property
    def container(self) -> ContainerCheck:
        """What its container must be: as its check says, else as the lifecycle does."""
        return self.container_check or ContainerCheck("exited" if self.lifecycle == "job" else "running")

    @property
    def ends(self) -> bool:
        """Whether its container must have ended, instead of running."""
        return self.container.state == "exited"

    @property
    def http(self) -> tuple[HttpCheck, ...]:
        return tuple(check for check in self.checks if isinstance(check, HttpCheck))

    @property
    def labelled(self) -> tuple[tuple[str, Check], ...]:
        """The checks, each with a label that no other one of this service has."""
        labels = [check.label for check in self.checks]
        counted = (
            f"{label} ({labels[:i].count(label) + 1})" if label in labels[:i] else label
            for i, label in enumerate(labels)
        )
        return tuple(zip(counted, self.checks))


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
