# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Apply a depot on the host itself, with nothing but the stick: what `fleet-apply` runs.

Verify, bring, deploy behind the gate, remember, report. Packed into one file by `_zipapp`. Lines on the output:

    /media/usb: release 3 of shop (9f86d081884c), 412.3 MB in all, made 2026-11-26 15:00 UTC
    13.2 MB copied, 2 images pulled
    shop: committed
    receipt: robot-7/4.json

What is refused, what is worth a look, and how far copying has come is on the error output. Exit codes: 0, the host is
on the release; 1, it is not, and runs what it ran before; 2, the command line is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_bring import (
    Brought,
    Order,
    bring_release,
    opened,
    read_parameters,
    release_of,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import BlobSource
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_progress import Meter
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_report import (
    Report,
    Written,
    report,
    report_refusal,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces, alone
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import accept
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker, default_cli
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_deploy import deploy
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, lock
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Request, Site, secret_values
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker, printable

Say = t.Callable[[str], None]
Cli = t.Callable[[t.Sequence[int]], Docker]

_LINE = 2000  # characters


@dataclass(frozen=True)
class Errand:
    """What is asked for: the depot and what of it, this host's folders, and how many releases to keep."""

    order: Order
    secrets_root: str = "/etc/fleet/secrets"
    parameters: str = "/etc/fleet/stacks"
    keep: int = 3
    overrides: tuple[str, ...] = ()
    now: t.Callable[[], float] = field(default=time.time)


def apply(errand: Errand, cli: Cli, say: Say, warn: Say) -> bool:
    """Bring the host to the depot's release of a stack; return whether it is there.

    Args:
        cli: makes the engine's command line, whose children hold these descriptors.
        say: takes lines for people; `warn` what is worth a look besides.

    Raises:
        DepotError: the depot, or the release, is refused; nothing was touched.
    """
    with _alone(errand), opened(errand.order, errand.now) as (source, manifest):
        say(_title(source, manifest))
        with contextlib.closing(Meter(sys.stderr)) as meter:
            brought = bring_release(errand.order, source, manifest, cli(()), meter)
        say(_took(brought, errand.order.check_mode))
        if not brought.complete:
            say("the host still lacks what other volumes have: apply them, too")
            return False
        if errand.order.check_mode:
            return True
        outcome = _deploy(errand, manifest, cli, warn)
        committed = outcome.state == "committed"
        (say if committed else warn)(f"{manifest.stack}: {outcome.text}")
        remembered = committed and _remember(errand, manifest, warn)
        _report(errand, manifest, outcome, cli(()), say, warn)
        return remembered


@dataclass(frozen=True)
class Outcome:
    """How the deployment ended: committed or failed; in words; the gate's rows, and the reason of a failure."""

    state: str
    text: str
    gate: t.Sequence[t.Any] = ()
    reason: str = ""


def _deploy(errand: Errand, manifest: Manifest, cli: Cli, warn: Say) -> Outcome:
    root = errand.order.root
    release, contents = release_of(root, manifest)
    parameters = read_parameters(errand.parameters, manifest.stack)
    request = Request(release, contents, parameters, {}, errand.keep, errand.overrides)
    places = Places(root, errand.secrets_root, manifest.stack)
    try:
        with lock(places, errand.order.lock_timeout) as held:
            result = deploy(Site(places, cli([held]), False, warn), request)
    except ReleaseError as exc:
        text = Masker(secret_values(places))(f"NOT on this release ({exc.reason}): {exc}")
        return Outcome("failed", text, exc.details.get("gate", ()), exc.reason)
    return Outcome("committed", "committed" if result["changed"] else "was committed already", result["gate"])


def _remember(errand: Errand, manifest: Manifest, warn: Say) -> bool:
    """Let no older release in from now on; return whether that is sure. The release runs either way."""
    try:
        accept(errand.order.places, manifest)
    except DepotError as exc:
        warn(
            f"{manifest.stack}: the release runs, but this host cannot remember that it took it ({exc.reason}): {exc}. "
            "Then run the same again"
        )
        return False
    return True


def _report(errand: Errand, manifest: Manifest, outcome: Outcome, docker: Docker, say: Say, warn: Say) -> None:
    """Write the receipt. The stack runs by now: what goes wrong here is told, and no more."""
    told = Report(manifest, outcome.state, outcome.gate, outcome.reason)
    _told(lambda: report(errand.order, told, docker, int(errand.now())), say, warn)


def _told(write: t.Callable[[], Written | None], say: Say, warn: Say) -> None:
    try:
        written = write()
    except DepotError as exc:
        warn(f"no receipt: {exc}")
        return
    if written is None:
        return
    for complaint in written.complaints:
        warn(complaint)
    if written.path:
        say(f"receipt: {written.path}")


@contextlib.contextmanager
def _alone(errand: Errand) -> t.Iterator[None]:
    """Let no two appliers at the same host: the second would pull the depot's images from under the first."""
    state = errand.order.places.state
    if not os.path.isdir(state):
        yield  # not enrolled, which whoever opens the depot says
        return
    with alone(errand.order.places, errand.order.lock_timeout, "apply.lock"):
        yield


def _title(source: BlobSource, manifest: Manifest) -> str:
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(manifest.created))
    return (
        f"{source.shown}: release {manifest.counter} of {manifest.stack} ({manifest.release[:12]}), "
        f"{human(manifest.size)} in all, made {made}"
    )


def _took(brought: Brought, check_mode: bool) -> str:
    pulls = len(brought.pulled.pulls) if brought.pulled else 0
    copied = brought.synced.plan.bytes_to_copy if check_mode else brought.synced.bytes_copied
    would = "would be " if check_mode else ""
    return f"{human(copied)} {would}copied, {pulls} image{'' if pulls == 1 else 's'} {would}pulled"


def run(errand: Errand, cli: Cli, say: Say, warn: Say) -> int:
    """Apply a depot, and tell of a refusal here and on the depot; return the exit code."""
    try:
        return 0 if apply(errand, cli, say, warn) else 1
    except DepotError as exc:
        refusal = exc
    end = "" if str(refusal).endswith("?") else "."
    warn(f"NOT applied ({refusal.reason}): {refusal}{end} What runs is as it was")
    if not errand.order.check_mode:
        _told(lambda: report_refusal(errand.order, refusal, int(errand.now())), say, warn)
    return 1


def main(arguments: t.Sequence[str], root: str, secrets_root: str, places: TrustPlaces) -> int:
    """Run the command; the folders are those of the host that it was made for."""
    errand = read_errand(arguments, root, secrets_root, places)
    return run(errand, default_cli, _writer(sys.stdout), _writer(sys.stderr))


def read_errand(arguments: t.Sequence[str], root: str, secrets_root: str, places: TrustPlaces) -> Errand:
    """Return what a command line asks for. Ends the process where it cannot be understood, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="fleet-apply", description="Bring this host to the newest release of a depot, behind its gate."
    )
    parser.add_argument("depot", help="the depot: a folder such as /media/usb, or a URL")
    parser.add_argument("--stack", help="which stack, where the depot has several")
    parser.add_argument("--counter", type=int, help="which release; by default the newest for this host")
    parser.add_argument("--check", action="store_true", help="only tell what would be copied and pulled")
    parser.add_argument("--override", action="append", choices=["busy", "memory"], default=[], help="do not refuse it")
    parser.add_argument("--ca", help="PEM file of authorities, for a depot behind https")
    parser.add_argument(
        "--lock-timeout", type=float, default=60.0, help="seconds to wait for another run (%(default)s)"
    )
    parser.add_argument("--root", default=root, help="folder of the host store (%(default)s)")
    options = parser.parse_args(arguments)
    depot = options.depot if "://" in options.depot else os.path.abspath(options.depot)
    order = Order(
        depot,
        options.root,
        options.stack,
        options.counter,
        places=places,
        ca_path=options.ca,
        lock_timeout=options.lock_timeout,
        check_mode=options.check,
    )
    return Errand(order, secrets_root, overrides=tuple(options.override))


def _writer(stream: t.TextIO) -> Say:
    """Return what writes lines to a stream, each at once."""

    def write(line: str) -> None:
        stream.write(f"{printable(line, _LINE)}\n")
        stream.flush()

    return write
