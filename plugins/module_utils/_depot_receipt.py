# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Receipts: what a host reports after it was given a depot, signed with the host's own key.

The key is an SSH key, and `ssh-keygen -Y` signs with it: every host that Ansible reaches has that program, and nothing
here has to know of cryptography. Format: docs/depot-format.md; signatures: PROTOCOL.sshsig of OpenSSH.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import RECEIPTS, is_sha256, read_document
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import LATEST
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, sync_dir

NAMESPACE = "fleet-receipt"
KEPT = 20
"""Receipts of one host that stay where they are written; older ones go."""

_SCHEMA = 1
_LIMIT = 16 << 20  # bytes of a receipt: one digest is 67
_AHEAD = 86_400  # seconds that a host's clock may be ahead of that of whoever reads its receipts
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_FILE = re.compile(r"([0-9]{1,15})\.json")


@dataclass(frozen=True)
class Receipt:
    """What a host holds and runs.

    `time` is in seconds since 1970, by the host's clock. `releases` has for each stack id, counter, state (committed or
    failed), and the gate's rows. `refused` has reason and message, where the depot was.
    """

    host: str
    time: int
    releases: t.Mapping[str, t.Mapping[str, t.Any]] = field(default_factory=dict)
    digests: frozenset[str] = frozenset()
    refused: t.Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return what is signed: canonical JSON."""
        return canonical(
            {
                "schema": _SCHEMA,
                "host": self.host,
                "time": self.time,
                "releases": {stack: dict(release) for stack, release in self.releases.items()},
                "digests": sorted(self.digests),
                "refused": dict(self.refused),
            }
        )


@dataclass(frozen=True)
class Signed:
    """A receipt, the signature under it, and the file that it was read from."""

    receipt: Receipt
    signature: str
    path: str = ""

    def encode(self) -> bytes:
        return canonical({**json.loads(self.receipt.encode()), "signature": self.signature})


def parse_receipt(data: bytes, path: str = "") -> Signed:
    """Read a receipt; that its signature is right is not known yet.

    Raises:
        DepotError: it is none (`manifest_invalid`).
    """
    try:
        document = read_document(data)
        if document["schema"] != _SCHEMA:
            raise ValueError(f"schema is {document['schema']!r}, and this version of emorobcare.fleet reads {_SCHEMA}")
        digests = document["digests"]
        if not all(is_sha256(one) for one in digests):
            raise ValueError("digests has what is no SHA-256")
        if not _HOST.fullmatch(document["host"]):
            raise ValueError(f"host is {document['host']!r}")
        if not 0 <= int(document["time"]) <= LATEST:
            raise ValueError(f"time is {document['time']!r}")
        receipt = Receipt(
            document["host"],
            int(document["time"]),
            {str(stack): dict(release) for stack, release in document["releases"].items()},
            frozenset(digests),
            {str(key): str(value) for key, value in document["refused"].items()},
        )
        signed = Signed(receipt, str(document["signature"]), path)
        signed.encode()  # text that JSON can say, and UTF-8 cannot, would be found out by whoever checks or keeps it
        return signed
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DepotError(f"{path or 'this'} is no receipt: {exc}", reason="manifest_invalid") from exc


def make_key(path: str, host: str) -> str:
    """Make the host's own key if there is none; return its public half, as a line of an authorized_keys file.

    Raises:
        DepotError: there is no ssh-keygen, or it failed.
    """
    if not os.path.exists(path):
        make_dirs(os.path.dirname(path), 0o700)
        new = f"{path}.new"
        for name in (new, f"{new}.pub"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)  # of a run that was cut off; ssh-keygen would ask whether to replace it
        _keygen(["-q", "-t", "ed25519", "-N", "", "-C", host, "-f", new])
        for name in (f"{new}.pub", new):
            _sync(name)
        os.rename(f"{new}.pub", f"{path}.pub")
        os.rename(new, path)  # last: where there is a private key, both are there, and whole
        sync_dir(os.path.dirname(path))
    with open(f"{path}.pub", encoding="ascii") as file:
        return file.read().strip()


def sign(receipt: Receipt, key: str) -> Signed:
    """Sign with the host's key.

    Raises:
        DepotError: there is no key (`key_missing`), or ssh-keygen failed.
    """
    if not os.path.exists(key):
        raise DepotError(f"{key} is not there, so this host cannot sign receipts: enrol it again", reason="key_missing")
    return Signed(receipt, _keygen(["-q", "-Y", "sign", "-n", NAMESPACE, "-f", key], receipt.encode()))


def is_genuine(signed: Signed, public_key: str) -> bool:
    """Whether a receipt is the host's, as its public key tells."""
    with tempfile.TemporaryDirectory() as folder:
        allowed, signature = os.path.join(folder, "allowed"), os.path.join(folder, "signature")
        with open(allowed, "w", encoding="utf-8") as file:
            file.write(f'{signed.receipt.host} namespaces="{NAMESPACE}" {public_key}\n')
        with open(signature, "w", encoding="utf-8") as file:
            file.write(signed.signature)
        argv = ["-q", "-Y", "verify", "-f", allowed, "-I", signed.receipt.host, "-n", NAMESPACE, "-s", signature]
        try:
            _keygen(argv, signed.receipt.encode())
        except DepotError as exc:
            if exc.reason == "library_missing":
                raise
            return False
    return True


def write_receipt(folder: str, signed: Signed) -> str:
    """Write a receipt below a folder of receipts, one of each host; return its path there.

    Raises:
        OSError: it cannot be written, as on a stick that may only be read.
    """
    place = os.path.join(folder, signed.receipt.host)
    make_dirs(place)
    numbers = _numbers(os.listdir(place))
    name = f"{max(numbers, default=0) + 1}.json"
    path = os.path.join(place, name)
    # No name of the moment is renamed: FAT may lose both. What was cut off is no receipt, and the next one follows it.
    with open(path, "xb") as file:
        file.write(signed.encode())
        file.flush()
        os.fsync(file.fileno())
    sync_dir(place)
    for number in sorted(numbers)[: -KEPT + 1 or None]:
        os.unlink(os.path.join(place, f"{number}.json"))
    return f"{signed.receipt.host}/{name}"


def read_receipts(depot: Folder, only: str | None = None) -> list[Signed]:
    """Return the receipts in a depot, of each host the oldest first; what is none is passed over.

    Args:
        only: the host whose receipts are wanted; by default those of all.
    """
    found = []
    for host in _hosts(depot) if only is None else [only]:
        if not _HOST.fullmatch(host):
            continue
        place = f"{RECEIPTS}/{host}"
        for number in sorted(_numbers(depot.names(place))):
            name = f"{place}/{number}.json"
            try:
                signed = parse_receipt(depot.read(name, _LIMIT) or b"", f"{depot.shown}/{name}")
            except DepotError:
                continue
            if signed.receipt.host == host:
                found.append(signed)
    return found


def _hosts(depot: Folder) -> list[str]:
    """Return the names of the folders of receipts; what a file browser has left between them is none."""
    return sorted(name for name, kind in depot.entries(RECEIPTS).items() if kind == "folder")


def newest_of(receipts: t.Iterable[Receipt], now: float) -> dict[str, Receipt]:
    """Return the newest receipt of each host, by the host.

    One that was written by a clock known to be wrong counts only where there is no other: it would hide those to come.

    Args:
        now: seconds since 1970; a receipt of a later day is from such a clock.
    """
    found: dict[str, Receipt] = {}
    for receipt in receipts:
        known = found.get(receipt.host)
        if known is None or _age(receipt, now) >= _age(known, now):
            found[receipt.host] = receipt
    return found


def not_before(receipt: Receipt, newest: Receipt, now: float) -> bool:
    """Whether a receipt is no older than another one, as far as the clocks that wrote them can be believed."""
    return not _is_dated(receipt, now) or _age(receipt, now) >= _age(newest, now)


def _age(receipt: Receipt, now: float) -> tuple[bool, int]:
    return _is_dated(receipt, now), receipt.time


def _is_dated(receipt: Receipt, now: float) -> bool:
    """Whether nothing is known against the clock that wrote a receipt."""
    return receipt.refused.get("reason") != "clock" and receipt.time <= now + _AHEAD


def held_by_all(receipts: t.Iterable[Receipt], hosts: t.Collection[str], now: float) -> frozenset[str]:
    """Return the digests that every host holds, by the newest receipt of each as `newest_of` tells it.

    Raises:
        DepotError: there is none of a host (`base_missing`).
    """
    newest = newest_of(receipts, now)
    without = sorted(set(hosts) - set(newest))
    if without:
        raise DepotError(
            f"there is no receipt of {', '.join(without)}, so nothing may be left out for it. Take its receipt from a "
            "depot that it was given (playbooks/receipts.yml), or write a whole depot (leave receipts out)",
            reason="base_missing",
        )
    held = [newest[host].digests for host in hosts]
    return frozenset.intersection(*held) if held else frozenset()


def _numbers(names: t.Iterable[str]) -> list[int]:
    return [int(match[1]) for match in map(_FILE.fullmatch, names) if match]


def _sync(path: str) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _keygen(words: t.Sequence[str], given: bytes = b"") -> str:
    """Run ssh-keygen; return what it says.

    Raises:
        DepotError: it is not there (`library_missing`), or failed.
    """
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}
    try:
        with start(["ssh-keygen", *words], environment, stdin=subprocess.PIPE) as process:
            output, errors = process.communicate(given)
    except FileNotFoundError:
        raise DepotError(
            "there is no ssh-keygen on this host, which signs receipts; install openssh-client",
            reason="library_missing",
        ) from None
    if process.returncode != 0:
        said = (errors or output).decode(errors="replace").strip()
        raise DepotError(f"ssh-keygen failed: {said[-300:]}", reason="key_missing")
    return output.decode(errors="replace")
