# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What keeps a daemon.json from being written; a refusal says what, where, what is allowed, and the way out. Pure."""

from __future__ import annotations

import difflib
import os
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon import (
    Document,
    Draft,
    Wanted,
    snapshotter,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_addresses import (
    Taken,
    asked_for,
    collisions,
    free_network,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_keys import (
    KEYS,
    KINDS,
    MAPS_OF_TEXTS,
    Kind,
    checks_itself,
    flag_of,
    flags_in,
    known,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError, Reason

_DEFAULT_ROOT = "/var/lib/docker"
_ADDED = frozenset({"runtimes"})  # what the file says of these is added to what a flag says
_ALIKE = 3  # keys that are named beside an unknown one


@dataclass(frozen=True)
class Program:
    """The engine that is installed, and how it is started.

    :ivar version: (major, minor).
    :ivar arguments: dockerd's, without the program itself.
    :ivar origin: where they come from, for the user.
    """

    version: tuple[int, int]
    arguments: tuple[str, ...] = ()
    origin: str = ""

    @property
    def config_file(self) -> str:
        """The file that it is told to read; empty where it takes its own."""
        words = iter(self.arguments)
        for word in words:
            if word.startswith("--config-file="):
                return word.partition("=")[2]
            if word == "--config-file":
                return next(words, "")
        return ""


@dataclass(frozen=True)
class Held:
    """What an engine holds that another place or owner of its data would hide.

    :ivar driver: its storage driver; empty where it does not answer.
    """

    images: int = 0
    containers: int = 0
    volumes: int = 0
    driver: str = ""
    snapshotter: bool = False

    def __bool__(self) -> bool:
        return bool(self.images or self.containers or self.volumes)

    def __str__(self) -> str:
        return f"{self.images} images, {self.containers} containers and {self.volumes} volumes"


@dataclass(frozen=True)
class Surroundings:
    """What a change must fit."""

    program: Program
    swarm: bool = False
    held: Held = Held()
    taken: tuple[Taken, ...] = ()


@dataclass(frozen=True)
class Refusal:
    reason: Reason
    message: str


def check(wanted: Wanted, draft: Draft, around: Surroundings) -> None:
    """Refuse what would keep the engine from starting, cut off the host, or hide what is there.

    :raises HostError: with all that is wrong, and the reason of what is told first.
    """
    _refuse(
        [
            *_unread(wanted.path, around.program),
            *_asked_badly(wanted),
            *_unknown(draft, wanted, around.program),
            *_flags(draft, around.program),
            *_misfits(draft, around),
        ]
    )


def check_given_back(draft: Draft, around: Surroundings) -> None:
    """Refuse a file of before that does not fit what there is now; the engine has taken it once, as such.

    :raises HostError: see `check`.
    """
    _refuse([*_misfits(draft, around)])


def _misfits(draft: Draft, around: Surroundings) -> t.Iterator[Refusal]:
    yield from _swarm(draft, around)
    yield from _addresses(draft, around)
    yield from _hidden(draft, around.held)


def _refuse(found: t.Sequence[Refusal]) -> None:
    if found:
        message = "; ".join(refusal.message for refusal in found)
        raise HostError(f"{message}. Nothing was changed", reason=found[0].reason)


def _unread(path: str, program: Program) -> t.Iterator[Refusal]:
    other = program.config_file
    if other and os.path.normpath(other) != os.path.normpath(path):
        yield Refusal(
            "file_unread",
            f"path: the engine reads {other} (--config-file, from {program.origin}), not {path}: set path to it",
        )


def _asked_badly(wanted: Wanted) -> t.Iterator[Refusal]:
    for name in wanted.remove:
        outer = name.partition(".")[0]
        if name in wanted.options or not outer:
            why = "is in options, too" if outer else "names nothing"
            yield Refusal("option_invalid", f"remove: {name!r} {why}; keep it in one of them")
    for name, value in wanted.options.items():
        key = KEYS.get(name)
        problem = _problem(name, value, key.kind) if key else ""
        if problem:
            yield Refusal("option_invalid", f"options.{problem}")


def _problem(name: str, value: t.Any, kind: Kind) -> str:
    if not _is(kind, value):
        return f"{name} is {_shown(value)}; the engine takes {KINDS[kind]} there"
    if name in MAPS_OF_TEXTS:
        for inner, one in value.items():
            if not isinstance(one, str):
                return f'{name}.{inner} is {_shown(one)}; the engine takes texts there, "{one}" in quotes say'
    return ""


def _is(kind: Kind, value: t.Any) -> bool:
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "text":
        return isinstance(value, str)
    if kind == "size":
        return isinstance(value, (str, int)) and not isinstance(value, bool)
    if kind == "map":
        return isinstance(value, t.Mapping)
    inner = str if kind == "texts" else t.Mapping
    return isinstance(value, list) and all(isinstance(one, inner) for one in value)


def _shown(value: t.Any) -> str:
    """A value as the file would have it, but for what may hold a password."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def _unknown(draft: Draft, wanted: Wanted, program: Program) -> t.Iterator[Refusal]:
    """An engine that can check its own file has the last word, and is asked when all else is well."""
    if not checks_itself(program.version):
        names = known(program.version)
        for name in draft.after:
            if name not in names:
                yield Refusal("option_unknown", _explain_unknown(name, wanted, program))


def explain_unknown(names: t.Iterable[str], wanted: Wanted, program: Program) -> str:
    """Return the message for keys that an engine does not know."""
    return f"{'; '.join(_explain_unknown(name, wanted, program) for name in names)}. Nothing was changed"


def _explain_unknown(name: str, wanted: Wanted, program: Program) -> str:
    engine = "Docker " + ".".join(map(str, program.version))
    key = KEYS.get(name)
    if key and key.since > program.version:
        allowed = f"it came with Docker {key.since[0]}.{key.since[1]}"
    elif key:
        allowed = "it went with an earlier version"
    else:
        allowed = f"alike are {', '.join(alike(name, known(program.version)))}"
    ours = name in wanted.options
    where = f"options.{name}" if ours else f"{wanted.path}, {name} (it was there before)"
    way_out = "leave it out" if ours else "list it under remove"
    return f"{where}: {engine} does not know it, and would not start ({allowed}); {way_out}"


def alike(name: str, names: t.Sequence[str]) -> list[str]:
    """Return the names that look most like one, the likeliest first."""
    return difflib.get_close_matches(name, names, _ALIKE, 0.0)


def _flags(draft: Draft, program: Program) -> t.Iterator[Refusal]:
    given = flags_in(program.arguments)
    for name in draft.after:
        flag, short = flag_of(name)
        found = f"--{flag}" if flag in given else f"-{short}" if short in given else ""
        if found and name not in _ADDED:
            yield Refusal(
                "option_is_flag",
                f"{name}: the engine is started with {found} ({program.origin}), and refuses to be told twice, "
                f"even the same: leave {name} out of daemon.json (remove: [{name}]), or take {found} from there first",
            )


def _swarm(draft: Draft, around: Surroundings) -> t.Iterator[Refusal]:
    if around.swarm and draft.after.get("live-restore") is True:
        yield Refusal(
            "option_forbidden",
            "live-restore: this engine is part of a Swarm, and does not start with live-restore: set it to false "
            "(Swarm moves its services to other nodes instead), or leave the Swarm (docker swarm leave)",
        )


def _addresses(draft: Draft, around: Surroundings) -> t.Iterator[Refusal]:
    try:
        asked = asked_for(draft.after, draft.changed)
    except ValueError as exc:
        yield Refusal("option_invalid", str(exc))
        return
    for one, other in collisions(asked, around.taken):
        free = free_network(one.network.prefixlen, around.taken) if one.network.version == 4 else ""
        yield Refusal(
            "address_collision",
            f"{one.key} {one.value} overlaps {other}: what is sent there would end in a container's network, and this "
            f"host could be cut off; choose another network{f', {free} say, which is free here' if free else ''}",
        )


def _hidden(draft: Draft, held: Held) -> t.Iterator[Refusal]:
    for name in draft.changed:
        was, will = (_where(name, document, held) for document in (draft.before, draft.after))
        if held and was != will:
            yield Refusal(
                "data_hidden",
                f"{name}: with {will or 'none'} in place of {was or 'none'} the engine would not see what it holds "
                f"now ({held}): it stays on the disk, and nothing runs. Set {name} on a host that holds nothing; or "
                "save what is needed (docker save, a backup of the volumes), remove it (docker system prune --all "
                "--volumes), and run this again",
            )


def data_root(document: Document) -> str:
    """Return the folder that an engine keeps its data in."""
    return os.path.normpath(str(document.get("data-root") or document.get("graph") or _DEFAULT_ROOT))


def _where(name: str, document: Document, held: Held) -> str:
    """What decides where the engine looks for its data, and as whom: as it takes a key, whatever is left out."""
    value = document.get(name)
    if name in ("data-root", "graph"):
        return data_root(document)
    if name == "storage-driver":
        return str(value or held.driver)
    if name == "userns-remap":
        return str(value or "")
    if name == "features":
        said = snapshotter(document)
        return "containerd's image store" if (held.snapshotter if said is None else said) else "the classic image store"
    return ""
