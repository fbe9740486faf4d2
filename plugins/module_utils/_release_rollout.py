# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""How a release wants to be brought to a host, read from its document. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Check
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_parse import parse_services
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

Strategy = t.Literal["recreate", "blue_green"]
STRATEGIES: tuple[Strategy, ...] = ("recreate", "blue_green")


@dataclass(frozen=True)
class Job:
    """A job: its time limit in seconds, None for that of the gate; whether what it does can be undone."""

    timeout: float | None = None
    irreversible: bool = False


@dataclass(frozen=True)
class Busy:
    """What a service is asked before anything is touched: this check passes when the host is free."""

    service: str
    check: Check


@dataclass(frozen=True)
class Rollout:
    """Times in seconds. `snapshots` are programs that stateful services run before they are changed, by service."""

    strategy: Strategy = "recreate"
    soak: float = 0.0
    drain: float = 30.0
    busy_timeout: float = 600.0
    busy: Busy | None = None
    jobs: t.Mapping[str, Job] = field(default_factory=dict)
    snapshots: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def irreversible(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, job in self.jobs.items() if job.irreversible))


def parse_rollout(document: t.Mapping[str, t.Any]) -> Rollout:
    """Read what a release document says of its rollout; what it leaves out has its default.

    Raises:
        ReleaseError: a value is not allowed (`release_invalid`, or `gate_invalid` for the busy request).
    """
    data = document["rollout"]
    strategy = data.get("strategy") or "recreate"
    if strategy not in STRATEGIES:
        raise ReleaseError(
            f"rollout.strategy: {strategy!r} is not allowed; it must be one of {', '.join(STRATEGIES)}",
            reason="release_invalid",
        )
    services: t.Mapping[str, t.Any] = document["services"]
    return Rollout(
        strategy=strategy,
        soak=_seconds(data, "soak", 0.0),
        drain=_seconds(data, "drain", 30.0),
        busy_timeout=_seconds(data, "busy_timeout", 600.0),
        busy=_busy(document.get("busy")),
        jobs={name: _job(item) for name, item in services.items() if item.get("lifecycle") == "job"},
        snapshots={name: tuple(map(str, item["snapshot"])) for name, item in services.items() if item.get("snapshot")},
    )


def _job(data: t.Mapping[str, t.Any]) -> Job:
    timeout = data.get("timeout")
    return Job(None if timeout is None else float(timeout), bool(data.get("irreversible")))


def _busy(data: t.Mapping[str, t.Any] | None) -> Busy | None:
    if not data:
        return None
    service = str(data["service"])
    check = {kind: settings for kind, settings in data.items() if kind != "service" and settings is not None}
    (gate,) = parse_services({service: {"gate": [check]}}, "busy")
    return Busy(service, gate.checks[0])


def _seconds(data: t.Mapping[str, t.Any], key: str, default: float) -> float:
    value = data.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ReleaseError(
            f"rollout.{key}: {value!r} is not allowed; it must be a number of seconds, 0 or more",
            reason="release_invalid",
        )
    return float(value)
