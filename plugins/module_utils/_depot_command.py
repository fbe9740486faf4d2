# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""The command line on hosts: `fleet-depot apply|verify|serve`; `fleet-apply` is the first of them."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_apply import main as apply_main
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Source, check_layout
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_library import LIBRARY, need_tuf
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_progress import Meter
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_serve import main as serve_main
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import open_depot, releases_here
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import verify
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_web import open_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human

_USAGE = """usage: fleet-depot apply DEPOT    bring this host to the newest release of a depot
       fleet-depot verify DEPOT   check all of a depot, and change nothing
       fleet-depot serve DEPOT    serve a depot's images and models to others
Each has --help."""


def main(arguments: t.Sequence[str], root: str, secrets_root: str, places: TrustPlaces, library: str = LIBRARY) -> int:
    """Run the command. Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong.

    Args:
        root: folder of the host store; all folders are those of the host that the command was made for.
        library: archive of the libraries that came with it.
    """
    word, rest = (arguments[0], arguments[1:]) if arguments else ("", ())
    if word not in ("apply", "verify", "serve"):
        _say(_USAGE, sys.stdout if word in ("-h", "--help") else sys.stderr)
        return 0 if word in ("-h", "--help") else 2
    try:
        need_tuf(library)
    except DepotError as exc:
        _say(f"fleet-depot: {exc} [{exc.reason}]", sys.stderr)
        return 1
    if word == "apply":
        return apply_main(rest, root, secrets_root, places)
    if word == "verify":
        return _verify(rest, places)
    return serve_main(rest, functools.partial(trusted_releases, places), open_source)


def trusted_releases(places: TrustPlaces, source: Source) -> list[Manifest]:
    """Return the releases of a depot that this host trusts.

    Raises:
        DepotError: it trusts none of it.
    """
    return releases_here(source, open_depot(source, places, time.time))


def _verify(arguments: t.Sequence[str], places: TrustPlaces) -> int:
    parser = argparse.ArgumentParser(
        prog="fleet-depot verify", description="Check the signatures of a depot, and the digest of all that it holds."
    )
    parser.add_argument("depot", help="the depot: a folder such as /media/usb, or a URL")
    parser.add_argument("--strict", action="store_true", help="files that nothing names are wrong, too")
    parser.add_argument("--ca", help="PEM file of authorities, for a depot behind https")
    options = parser.parse_args(arguments)
    depot = options.depot if "://" in options.depot else os.path.abspath(options.depot)
    try:
        with contextlib.closing(open_source(depot, options.ca)) as source:
            manifests = trusted_releases(places, source)
            with contextlib.closing(Meter(sys.stderr)) as meter:
                verified = verify(source, manifests, check_layout(source), say=meter, strict=options.strict)
        for file in verified.extra:
            _say(f"{file}: nothing names it")
        verified.check()
    except DepotError as exc:
        _say(f"REFUSED ({exc.reason}): {exc}", sys.stderr)
        return 1
    elsewhere = f", {verified.elsewhere} more on other volumes" if verified.elsewhere else ""
    _say(
        f"{depot}: {len(manifests)} releases, {verified.blobs} blobs, {human(verified.bytes_read)}: all as signed"
        f"{elsewhere}"
    )
    return 0


def _say(line: str, stream: t.TextIO | None = None) -> None:
    stream = stream or sys.stdout
    stream.write(f"{line}\n")
    stream.flush()
