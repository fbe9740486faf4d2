# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What becomes of daemon.json: read, merge, and what it takes for the engine to do as it says. Pure."""

from __future__ import annotations

import copy
import json
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_keys import KEYS
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

Document = t.Mapping[str, t.Any]
Action = t.Literal["none", "reload", "restart"]

LIVE_RESTORE = "live-restore"
DEFAULT_LOG_DRIVER = "json-file"
_ENDLESS = DEFAULT_LOG_DRIVER  # of the drivers that keep logs on the host, the one that has no limit by itself
SNAPSHOTTER = "containerd-snapshotter"
# What a URL holds besides its host: a proxy's password has no business in a diff.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s\"@]+(?=@)")
# Nor has what a key's name says to be one: splunk-token, say.
_SECRETS = re.compile(
    r"""("[^"]*(?:token|password|secret)[^"]*"|"[^"]*key")(\s*:\s*)(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)""",
    re.IGNORECASE,
)
_MASK = "********"


@dataclass(frozen=True)
class Wanted:
    """What the task asks for; `remove` names keys, or one in a dictionary (log-opts.max-file)."""

    path: str
    options: Document
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class Container:
    """A container as far as a change of its engine concerns it.

    :ivar removed: whether the engine removes it when it ends.
    :ivar policy: its restart policy; empty where it has none.
    """

    name: str
    running: bool
    policy: str = ""
    removed: bool = False
    log_driver: str = DEFAULT_LOG_DRIVER
    log_options: t.Mapping[str, str] | None = None


@dataclass(frozen=True)
class Draft:
    """A file as it is and as it is to be. `text` is None where there is none to be.

    :ivar changed: the top-level keys whose values differ.
    """

    before: Document
    after: Document
    text: str | None
    changed: tuple[str, ...]

    @property
    def removed(self) -> frozenset[str]:
        return frozenset(name for name in self.changed if name not in self.after)


@dataclass(frozen=True)
class Effect:
    """What it takes for changed keys to take effect.

    :ivar reload: those that the engine takes by SIGHUP.
    :ivar restart: those that it takes when it starts.
    :ivar bridge: those of the latter that it takes only when it starts and no container runs.
    """

    reload: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    bridge: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is done to a running engine, and what stays undone: `pending` keys are in the file, but not in effect."""

    action: Action
    pending: tuple[str, ...] = ()

    @property
    def needs_restart(self) -> bool:
        return bool(self.pending)


@dataclass(frozen=True)
class Step:
    """What the file holds for a while, and what is done to the engine so that it counts."""

    document: Document
    action: Action


def read_document(text: str | None, path: str) -> dict[str, t.Any]:
    """Read a daemon.json; none, or an empty one, holds nothing.

    :raises HostError: it is no JSON (`file_invalid`), which the engine would not take either.
    """
    if not (text or "").strip():
        return {}
    way_out = "The engine does not start with such a file either. Put it right or move it away; nothing was changed"
    try:
        document = json.loads(text or "", parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise HostError(
            f"{path} is no JSON: line {exc.lineno}, column {exc.colno}: {exc.msg}. {way_out}",
            reason="file_invalid",
            line=exc.lineno,
            column=exc.colno,
        ) from None
    except ValueError as exc:
        raise HostError(f"{path} is no JSON: {exc}. {way_out}", reason="file_invalid") from None
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise HostError(f"{path} holds a {kind} where a JSON object should be. {way_out}", reason="file_invalid")
    return document


def _no_constant(name: str) -> t.NoReturn:
    raise ValueError(f"{name} is not a number that JSON has")


def merge(document: Document, wanted: Wanted) -> dict[str, t.Any]:
    """Return what a file is to hold: what is wanted, and whatever else was in it.

    Dictionaries are merged, lists are replaced. Another log driver does not inherit the options of the one before it:
    an engine with options that its driver does not know does not start.
    """
    after: dict[str, t.Any] = copy.deepcopy(dict(document))
    for name in wanted.remove:
        _remove(after, name)
    driver = wanted.options.get("log-driver")
    if driver is not None and driver != document.get("log-driver", DEFAULT_LOG_DRIVER):
        after.pop("log-opts", None)
    for name, value in wanted.options.items():
        after[name] = _merged(after.get(name), value)
    return after


def _remove(document: dict[str, t.Any], name: str) -> None:
    outer, dot, inner = name.partition(".")
    if not dot:
        document.pop(name, None)
    elif isinstance(document.get(outer), dict):
        document[outer].pop(inner, None)
        if not document[outer]:
            del document[outer]


def _merged(old: t.Any, new: t.Any) -> t.Any:
    if isinstance(old, t.Mapping) and isinstance(new, t.Mapping):
        return {**old, **{name: _merged(old.get(name), value) for name, value in new.items()}}
    return copy.deepcopy(new)


def draft(text: str | None, wanted: Wanted) -> Draft:
    """Work out what becomes of a file. One that holds what is wanted is left as it is written.

    :raises HostError: what is there cannot be read.
    """
    before = read_document(text, wanted.path)
    after = merge(before, wanted)
    made = between(before, after, written(after))
    return made if made.changed else replace(made, text=text)


def gently(made: Draft, *, live_now: bool, startable: t.Callable[[Document], bool]) -> tuple[list[Step], Action]:
    """Return what comes before the last step, and what that is to the engine, so that containers outlive a restart.

    Whether they do is said by the engine that ends, and by the one that starts. So live-restore is switched on before,
    where it is not, and off only afterwards, where it is not wanted. A key that is taken away does not count for an
    engine that only reads its file again, so it is told "off" first.

    :param startable: tells whether an engine takes a file. One that somebody has spoilt since the engine started comes
        neither first nor back: what it has in common with the new one does, or else the new one itself.
    """
    steps = []
    if made.before.get(LIVE_RESTORE) is not True or not live_now or not startable(made.before):
        common = {name: value for name, value in made.before.items() if name not in made.changed}
        first = ({**document, LIVE_RESTORE: True} for document in (made.before, common))
        taken = next((document for document in first if startable(document)), {**made.after, LIVE_RESTORE: True})
        steps.append(Step(taken, "reload"))
    if made.after.get(LIVE_RESTORE) is True:
        return steps, "restart"
    steps.append(Step({**made.after, LIVE_RESTORE: True}, "restart"))
    if LIVE_RESTORE in made.after:
        return steps, "reload"
    steps.append(Step({**made.after, LIVE_RESTORE: False}, "reload"))
    return steps, "none"


def taken_text(known: str | None, made: Draft, pending: t.Collection[str], path: str) -> str | None:
    """Return a file as an engine has it that was only told to read its file again: without what waits.

    :param known: the file as that engine had it before.
    """
    had = read_document(known, path)
    now = {name: value for name, value in made.after.items() if name not in pending}
    now.update({name: had[name] for name in pending if name in had})
    return known if now == had else written(now)


def written(document: Document) -> str:
    """Return a file as we write it."""
    return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n"


def draft_of(text: str | None, kept: str | None, path: str) -> Draft:
    """Work out what changes when a file gets the content of before the first change back.

    :raises HostError: what is there cannot be read.
    """
    return between(read_document(text, path), read_document(kept, path), kept)


def between(before: Document, after: Document, text: str | None) -> Draft:
    """Work out what changes from one content to another, which is written as `text`."""
    changed = sorted(name for name in {*before, *after} if _differs(before, after, name))
    return Draft(before, after, text, tuple(changed))


def reverse(changed: Draft) -> Draft:
    """Return the way back from a change."""
    return Draft(changed.after, changed.before, None, changed.changed)


def _differs(before: Document, after: Document, name: str) -> bool:
    # To Python True is 1, and to the engine it is not.
    return json.dumps(before.get(name), sort_keys=True) != json.dumps(after.get(name), sort_keys=True)


def effect_of(changed: Draft) -> Effect:
    """Tell what it takes for the changes of a draft to take effect; of keys that nobody knows, a restart."""
    reload, restart, bridge = [], [], []
    for name in changed.changed:
        key = KEYS.get(name)
        if key and key.reload and name not in changed.removed:
            reload.append(name)
        else:
            restart.append(name)
        if key and key.bridge:
            bridge.append(name)
    return Effect(tuple(reload), tuple(restart), tuple(bridge))


def snapshotter(document: Document) -> bool | None:
    """Return what a file says of containerd's image store, None where it says nothing."""
    features = document.get("features")
    said = features.get(SNAPSHOTTER) if isinstance(features, t.Mapping) else None
    return None if said is None else bool(said)


def make_plan(effect: Effect, pending: t.Sequence[str], *, engine_runs: bool, restart: bool, kept_alive: bool) -> Plan:
    """Decide what is done to an engine.

    :param pending: keys that an earlier run has written and this engine, since it started, has not taken.
    :param kept_alive: whether containers run on while the engine restarts, so that its default bridge stays as it is.
    """
    if not engine_runs:
        return Plan("none")  # it reads the file when it is started
    waiting = tuple(sorted({*pending, *effect.restart}))
    if waiting and restart:
        still = {name for name in waiting if kept_alive and name in KEYS and KEYS[name].bridge}
        if still != set(waiting) or effect.restart:
            return Plan("restart", tuple(sorted(still)))
    return Plan("reload" if effect.reload else "none", waiting)


def log_limits(document: Document) -> tuple[str, t.Mapping[str, str]]:
    """Return the log driver that new containers get, and its options."""
    options = document.get("log-opts")
    return str(document.get("log-driver") or DEFAULT_LOG_DRIVER), options if isinstance(options, t.Mapping) else {}


def stale(document: Document, containers: t.Iterable[Container]) -> list[str]:
    """Return the names of containers that were made before the file's log options, and so do not have them.

    The engine gives a container of its default driver each default option that it lacks, when it is made. So one that
    lacks an option is older; and so is one that logs without end, whatever the driver is now.
    """
    driver, options = log_limits(document)
    limited = driver != _ENDLESS or "max-size" in options
    return sorted(one.name for one in containers if _is_stale(one, driver, options, limited))


def _is_stale(container: Container, driver: str, options: t.Mapping[str, str], limited: bool) -> bool:
    has = container.log_options or {}
    if container.log_driver == driver:
        return any(name not in has for name in options)
    return limited and container.log_driver == _ENDLESS and "max-size" not in has


def has_credentials(text: str | None) -> bool:
    """Tell whether a file has what a diff must not show."""
    return any(pattern.search(text or "") for pattern in (_CREDENTIALS, _SECRETS))


def shown(text: str | None) -> str:
    """Return a file as a diff may show it: without what is before the @ of a URL, and what a key says to be secret."""
    return _CREDENTIALS.sub(_MASK, _SECRETS.sub(rf'\1\2"{_MASK}"', text or ""))
