# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The command line `fleet-depot serve`: a read-only registry over a depot, until it is told to stop."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder, Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_registry import Listen, Registry, serving
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest

Trusted = t.Callable[[Source], t.Sequence[Manifest]]
"""Returns the release manifests of a depot that this host trusts, or raises DepotError."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTHING = "no release in it is trusted here, or none has images or models"


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    found = argparse.ArgumentParser(
        prog="fleet-depot serve",
        description="Serve the images and models of a depot's trusted releases as a read-only registry.",
        epilog="It serves until it gets SIGINT (Ctrl-C) or SIGTERM. Exit code: 0 when it was stopped so, 1 when the "
        "depot was refused or the address cannot be had, 2 when an argument is wrong.",
    )
    found.add_argument("depot", help="the depot: a folder, or the address of a web server")
    found.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        type=place_of,
        default=("127.0.0.1", 0),
        help="an IP address of this machine and a port, 0 for any free one (default: 127.0.0.1:0)",
    )
    found.add_argument("--tls-cert", metavar="FILE", default="", help="certificate, with its chain, in PEM")
    found.add_argument("--tls-key", metavar="FILE", default="", help="its key, in PEM")
    found.add_argument("--insecure", action="store_true", help="listen without TLS where others can connect")
    found.add_argument("--verbose", action="store_true", help="log a line for each request")
    return found


def place_of(text: str) -> tuple[str, int]:
    """Return address and port of `ADDRESS:PORT`, as in 0.0.0.0:5000 and [::1]:5000; localhost is 127.0.0.1.

    Raises:
        ArgumentTypeError: it has another form.
    """
    address, colon, port = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if not colon or not port.isascii() or not port.isdigit() or not bare or (":" in bare and bare == address):
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT, such as 0.0.0.0:5000 or [::1]:5000")
    return ("127.0.0.1" if bare == "localhost" else bare), int(port)


def main(arguments: t.Sequence[str], trusted: Trusted, open_source: t.Callable[[str], Source] = Folder) -> int:
    """Serve a depot until SIGINT or SIGTERM; return the exit code. Call it in the main thread.

    Args:
        arguments: those after `fleet-depot serve`.
        trusted: returns what may be served; whoever packs this command knows whom the host trusts.
        open_source: returns the depot that the first argument names.
    """
    try:
        told = parser().parse_args(arguments)
    except SystemExit as exc:  # argparse has printed help or its complaint
        return int(exc.code or 0)
    try:
        address, port = told.listen
        listen = Listen(address, port, told.tls_cert, told.tls_key, told.insecure)
        source = open_source(told.depot)
        manifests = trusted(source)
        with _told_to_stop() as stop, serving(source, manifests, listen, told.verbose) as registry:
            sys.stdout.write(f"{_greeting(registry)}\n")
            sys.stdout.flush()
            stop.wait()
    except DepotError as exc:
        sys.stderr.write(f"fleet-depot: {exc} [{exc.reason}]\n")
        return 1
    return 0


def _greeting(registry: Registry) -> str:
    models = sum(name.startswith("models/") for name in registry.catalog)
    images = len(registry.catalog) - models
    what = f"{images} images and {models} models" if registry.catalog else _NOTHING
    return f"serving {registry.source.shown} at {registry.base}: {what}"


@contextlib.contextmanager
def _told_to_stop() -> t.Iterator[threading.Event]:
    """Return what is set once a signal says to stop. A second one ends the process at once."""
    stop = threading.Event()
    before: dict[int, t.Any] = {number: signal.getsignal(number) for number in _SIGNALS}

    def set_stop(number: int, _frame: t.Any) -> None:
        signal.signal(number, before[number])
        stop.set()

    for number in _SIGNALS:
        signal.signal(number, set_stop)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            signal.signal(number, before[number])
