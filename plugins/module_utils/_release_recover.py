# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Bring every stack of a host to rest, with nobody there: what fleet-recover.service runs at boot.

Packed into one file by `_zipapp`, so it needs neither Ansible nor a network. A line of output for each stack:

    shop: at rest on release 9f86d081884c
    shop: back on release 9f86d081884c; the run was cut off in step gate
    shop: NOT brought back (gate_timeout): …

Exit codes: 0, all are at rest; 1, one is not; 2, the command line is wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    Docker,
    DockerMissing,
    default_cli,
    no_engine,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_back import recover
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, find_journal, lock
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_look import is_locked, stacks_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site, secret_values
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker, printable

Say = t.Callable[[str], None]

_POLL = 0.5  # seconds between two questions whether the engine is up
_LINE = 2000  # characters
_NO_WAY_BACK = (
    "its journal cannot be read, so it is not known what was committed. Its containers are left as they are; deploy a "
    "release from the controller"
)


@dataclass(frozen=True)
class Errand:
    """What is asked for. `patience`: seconds until the engine must answer; `lock_timeout`: seconds for another run."""

    root: str
    secrets_root: str
    check: bool = False
    patience: float = 300.0
    lock_timeout: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """How it went with a stack: whether it is at rest, and a sentence."""

    stack: str
    at_rest: bool
    text: str

    @property
    def line(self) -> str:
        return printable(f"{self.stack}: {self.text}", _LINE)


def recover_all(errand: Errand, cli: t.Callable[[t.Sequence[int]], Docker], say: Say, warn: Say) -> bool:
    """Bring each stack to rest, or only tell how it is; return whether all are at rest.

    Args:
        cli: makes the command line, whose children hold these descriptors.
        say: takes a line for each stack; `warn` what is worth a look besides.
    """
    deadline = time.monotonic() + errand.patience
    outcomes = []
    for stack in stacks_of(errand.root):
        places = Places(errand.root, errand.secrets_root, stack)
        outcome = _guarded(places, errand, cli, warn, deadline)
        say(outcome.line)
        outcomes.append(outcome)
    return all(one.at_rest for one in outcomes)


def main(arguments: t.Sequence[str], root: str, secrets_root: str) -> int:
    """Run the command; the folders are those that it was made for."""
    parser = argparse.ArgumentParser(
        prog="fleet-recover", description="End what a deployment began that was cut off, and go back to what serves."
    )
    parser.add_argument("--check", action="store_true", help="only tell how the stacks are")
    parser.add_argument("--root", default=root, help="folder of releases and journals (%(default)s)")
    parser.add_argument("--secrets-root", default=secrets_root, help="folder of secrets (%(default)s)")
    parser.add_argument(
        "--wait", type=float, default=Errand.patience, help="seconds until the engine must answer (%(default)s)"
    )
    options = parser.parse_args(arguments)
    errand = Errand(options.root, options.secrets_root, options.check, options.wait)

    return 0 if recover_all(errand, default_cli, _writer(sys.stdout), _writer(sys.stderr)) else 1


def _writer(stream: t.TextIO) -> Say:
    """Return what writes lines to a stream, each at once: boot's log is read while it goes on."""

    def write(line: str) -> None:
        stream.write(f"{line}\n")
        stream.flush()

    return write


def _guarded(
    places: Places, errand: Errand, cli: t.Callable[[t.Sequence[int]], Docker], warn: Say, deadline: float
) -> Outcome:
    """Bring a stack to rest, whatever happens: the next one is to have its turn."""
    mask = Masker()
    try:
        mask = Masker(secret_values(places))

        def masked(text: str) -> None:
            warn(printable(mask(f"{places.stack}: {text}"), _LINE))

        outcome = _told(places) if errand.check else _brought(places, errand, cli, mask, masked, deadline)
    except ReleaseError as exc:
        outcome = Outcome(places.stack, False, f"{_not(errand)} ({exc.reason}): {exc}")
    except Exception as exc:  # pylint: disable=broad-exception-caught
        # Nobody is there to read a traceback, and the other stacks are not to suffer for this one.
        outcome = Outcome(places.stack, False, f"{_not(errand)}: {type(exc).__name__}: {exc}")
    return Outcome(outcome.stack, outcome.at_rest, mask(outcome.text))


def _not(errand: Errand) -> str:
    return "cannot be told" if errand.check else "NOT brought back"


def _told(places: Places) -> Outcome:
    """Tell how a stack is, without the lock and without a change."""
    if is_locked(places):
        return Outcome(places.stack, False, "a run is at work")
    journal = find_journal(places)[0]
    if journal is None:
        return Outcome(places.stack, False, _NO_WAY_BACK)
    if journal.phase in ("idle", "removing"):
        return _resting(journal)
    if journal.phase == "retire":
        return Outcome(places.stack, False, f"{_committed(journal)} stays; what it replaced would be removed")
    way = f"would go back to {_committed(journal)}" if journal.committed else "its containers would be removed"
    return Outcome(places.stack, False, f"a run was cut off in step {journal.phase}; {way}")


def _brought(
    places: Places,
    errand: Errand,
    cli: t.Callable[[t.Sequence[int]], Docker],
    mask: Masker,
    warn: Say,
    deadline: float,
) -> Outcome:
    with lock(places, errand.lock_timeout) as held:
        journal, last = find_journal(places)
        if journal is None:
            return Outcome(places.stack, False, f"{_not(errand)}: {_NO_WAY_BACK}")
        if journal.phase in ("idle", "removing"):
            return _resting(journal)
        if not last:
            warn(f"{places.journal} is gone or cannot be read; the one before it counts")
        docker = cli([held])
        _wait_for_engine(docker, deadline)
        after, back = recover(Site(places, docker, False, warn), journal, mask)
    if not back.settled:
        return Outcome(places.stack, False, f"{_not(errand)}: {back.note}")
    where = f"back on {_committed(after)}"
    if journal.phase == "retire":
        where = f"stays on {_committed(after)}, and what that replaced is gone"
    elif after.committed is None:
        where = "nothing was committed before, so its containers are gone (volumes are kept)"
    return Outcome(places.stack, True, f"{where}; the run was cut off in step {journal.phase}")


def _resting(journal: Journal) -> Outcome:
    if journal.phase == "removing":
        return Outcome(journal.stack, True, "is being taken off this host; the next run with state=absent ends that")
    where = f"at rest on {_committed(journal)}" if journal.committed else "at rest, with no release"
    return Outcome(journal.stack, True, where)


def _committed(journal: Journal) -> str:
    committed = journal.committed
    if committed is None:
        return "no release"
    return f"release {committed.identity.release[:12]}" + (f" ({committed.colour})" if committed.colour else "")


def _wait_for_engine(docker: Docker, deadline: float) -> None:
    """Wait until the engine answers; `deadline` is by the monotonic clock.

    Raises:
        ReleaseError: it did not in time, or there is none on this host.
    """
    question = ["docker", "version", "--format", "{{.Server.Version}}"]
    while True:
        try:
            answer = docker.ask(question)
        except DockerMissing:
            raise
        except ReleaseError:
            if time.monotonic() >= deadline:
                raise
        else:
            if answer.code == 0:
                return
            if time.monotonic() >= deadline:
                raise no_engine(answer)
        time.sleep(_POLL)
