# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Tell what became of a release, or why a depot was refused: on the host, and on the depot if that can be written."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_bring import Order, held_by_engine
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_kept import explained
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import RECEIPTS, is_sha256
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_receipt import (
    Receipt,
    Signed,
    read_receipts,
    sign,
    write_receipt,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import read_enrolment
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import is_there
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

HOST_KEY = "host_ed25519"

_MESSAGE = 2000  # characters
_UNTOLD = ("not_enrolled", "locked", "invalid")
"""Refusals without a receipt: the host has no name to sign with yet, or nothing is wrong with the depot."""


@dataclass(frozen=True)
class Report:
    """What became of a release: committed or failed, the gate's rows, and the reason of a failure."""

    manifest: Manifest
    state: str
    gate: t.Sequence[t.Any] = ()
    reason: str = ""

    @property
    def entry(self) -> dict[str, t.Any]:
        entry = {
            "id": self.manifest.release,
            "counter": self.manifest.counter,
            "state": self.state,
            "gate": list(self.gate),
        }
        return {**entry, "reason": self.reason} if self.reason else entry


@dataclass(frozen=True)
class Written:
    """The receipt, its path below a folder of receipts, and why it could not be written elsewhere too.

    `new`: it says something that the one before it did not.
    """

    path: str
    receipt: Receipt
    new: bool
    complaints: tuple[str, ...] = ()


def report(order: Order, told: Report, docker: Docker | None, time: int) -> Written:
    """Write a receipt to the host, and to the depot if it is a folder that can be written.

    Where the newest one says the same, it stays the newest.

    Args:
        time: seconds since 1970.

    Raises:
        DepotError: the host is not enrolled, has no key, or its own disk refuses.
    """
    host = read_enrolment(order.places).host
    before = _newest(order.root, host)
    receipt = Receipt(host, time, _releases(before, told), held(order.root, told.manifest, docker))
    return _write(order, before, receipt)


def report_refusal(order: Order, refusal: DepotError, time: int) -> Written | None:
    """Write a receipt that says why the depot was refused; what the host runs and holds is as it was told last.

    Returns:
        What was written; None where such a refusal has no receipt.

    Raises:
        DepotError: as in `report`.
    """
    if refusal.reason in _UNTOLD:
        return None
    host = read_enrolment(order.places).host
    before = _newest(order.root, host)
    why = {"reason": refusal.reason, "message": printable(str(refusal), _MESSAGE)}
    releases, digests = (before.releases, before.digests) if before else ({}, stored(order.root))
    return _write(order, before, Receipt(host, time, releases, digests, why))


def _write(order: Order, before: Receipt | None, receipt: Receipt) -> Written:
    """Sign a receipt, and write it where the newest one says something else."""
    signed = sign(receipt, os.path.join(order.places.state, HOST_KEY))
    new = not _same(before, receipt)
    path, complaints = "", []
    if new:
        with explained(order.root):
            path = write_receipt(os.path.join(order.root, RECEIPTS), signed)
    if "://" not in order.depot:
        try:
            path = _write_to_depot(order.depot, signed) or path
        except (OSError, DepotError) as exc:
            complaints.append(f"the receipt is on this host alone ({order.root}/{RECEIPTS}/{receipt.host}): {exc}")
    return Written(path, receipt, new, tuple(complaints))


def _write_to_depot(depot: str, signed: Signed) -> str:
    """Write a receipt to a depot; return its path there, empty where one says the same already.

    Raises:
        DepotError: there is no depot: where a stick was pulled, the folder is the host's own.
        OSError: it cannot be written.
    """
    if not is_there(Folder(depot)):
        raise DepotError(f"there is no depot at {depot} (any more)", reason="not_a_depot")
    if _same(_newest(depot, signed.receipt.host), signed.receipt):
        return ""
    return write_receipt(os.path.join(depot, RECEIPTS), signed)


def _newest(folder: str, host: str) -> Receipt | None:
    """Return the newest receipt of the host in a folder; None if there is none."""
    own = read_receipts(Folder(folder), host)
    return own[-1].receipt if own else None


def _releases(before: Receipt | None, told: Report) -> dict[str, t.Mapping[str, t.Any]]:
    """Return what the host runs. A run that found all in place asked no gate: what the gate said before stands."""
    releases = dict(before.releases) if before else {}
    known, entry = releases.get(told.manifest.stack, {}), told.entry
    if not told.gate and {**known, "gate": []} == entry:
        entry = dict(known)
    return {**releases, told.manifest.stack: entry}


def _same(before: Receipt | None, now: Receipt) -> bool:
    return before is not None and before == replace(now, time=before.time)


def held(root: str, manifest: Manifest, docker: Docker | None) -> frozenset[str]:
    """Return what the host holds, by SHA-256: verified content of its store, and layers and images of its engine."""
    return stored(root) | (held_by_engine(docker, manifest) if docker else frozenset())


def stored(root: str) -> frozenset[str]:
    """Return the verified content of the host store, by SHA-256."""
    store = Store(root)
    with explained(root):
        names = os.listdir(store.blobs) if os.path.isdir(store.blobs) else []
    return frozenset(name for name in names if is_sha256(name))
