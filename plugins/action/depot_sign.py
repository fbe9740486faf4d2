# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""emorobcare.fleet.depot_sign: signs on the controller, where the keys are.

The documentation is in plugins/modules/depot_sign.py.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import pathlib
import time
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import target_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_library import need_tuf
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import parse_manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tuf import utc
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest
from ansible_collections.emorobcare.fleet.plugins.modules.depot_sign import ARGUMENT_SPEC
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_keys import (
    key_names,
    open_signers,
    read_roots,
    role_of,
    root_name,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import Expiry, newest_root, publish
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_published import (
    Published,
    read_published,
    write_published,
)

if t.TYPE_CHECKING:
    from securesystemslib.signer import Signer
    from tuf.api.metadata import Root

Result = dict[str, t.Any]

_EXPIRING = ("targets", "snapshot", "timestamp")


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result = super().run(task_vars=task_vars)
        _validated, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        folder = pathlib.Path(args["keys"]).expanduser().absolute()
        try:
            need_tuf()
            return {**result, **self._sign(folder, args, time.time())}
        except DepotError as exc:
            return {**result, "failed": True, "msg": str(exc), "reason": exc.reason, **exc.details}

    def _sign(self, folder: pathlib.Path, args: Result, now: float) -> Result:
        roots = read_roots(folder)
        root = newest_root(roots) if roots else None
        refuse_expired(folder, root, now)
        known = read_published(folder, roots, args["resign"])
        if args["state"] == "known":
            return {"changed": False, **told(known, roots)}
        if args["keep"] < 1:
            raise DepotError(f"keep: {args['keep']} is not allowed; the new release is one of them", reason="invalid")
        manifest = read_manifest(args["manifest"])
        expiry, targets, drop = read_expiry(args["expiry_days"]), {}, []
        if manifest is not None:
            wanted = parse_manifest(manifest)
            targets[target_name(wanted.stack, wanted.counter)] = (digest(manifest), len(manifest))
            drop = known.superseded(wanted.stack, args["keep"] - 1) if not targets.keys() & known.targets else []
        signers, closed = open_current(folder, root, args["passphrases"])
        refresh = args["refresh"] and manifest is None
        with telling_closed(closed):
            new = publish(known.metadata, roots, targets, drop, signers, now, expiry, refresh, args["resign"])
        if new and not self._task.check_mode:
            write_published(folder, new, manifest)
            known = read_published(folder, roots)
        return {"changed": bool(new), "warnings": warnings(root, expiry, now), **told(known, roots)}


def read_manifest(text: str | None) -> bytes | None:
    """Return the release manifest.

    Raises:
        DepotError: it is no base64 (`invalid`).
    """
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise DepotError(f"manifest is not base64: {exc}; pass what depot_write returned", reason="invalid") from exc


def read_expiry(days: Result) -> Expiry:
    """Return for how long metadata is good.

    Raises:
        DepotError: a role is none that expires, or a number is none of days (`invalid`).
    """
    for role, number in days.items():
        if role not in _EXPIRING or not str(number).isdigit() or int(number) < 1:
            raise DepotError(
                f"expiry_days: {role}: {number!r} is not allowed; {', '.join(_EXPIRING)} take 1 day or more",
                reason="invalid",
            )
    return Expiry(**{role: int(number) for role, number in days.items()})


def refuse_expired(folder: pathlib.Path, root: Root | None, now: float) -> None:
    """Refuse to sign what no host would take.

    Raises:
        DepotError: the newest root has expired (`expired`).
    """
    if root is not None and root.expires.timestamp() <= now:
        raise DepotError(
            f"{folder}/{root_name(root.version)} expired on {utc(root.expires.timestamp())}, and this machine's clock "
            f"says {utc(now)}. Hosts take no depot after that, so nothing was signed. If the clock is right, bring "
            "enough root keys together and run playbooks/keys.yml with -e fleet_renew=true: docs/depot-keys.md, "
            "Expired depot",
            reason="expired",
        )


def warnings(root: Root | None, expiry: Expiry, now: float) -> list[str]:
    """Return a warning if the newest root ends before what is signed now; hosts take nothing of it after that."""
    until = max(expiry.end(role, now) for role in _EXPIRING)
    if root is None or root.expires >= until:
        return []
    return [
        f"The root metadata expires on {root.expires:%Y-%m-%d}, before what is signed now ({until:%Y-%m-%d}), and "
        "hosts take no depot after that. Bring the root keys together and renew it: docs/depot-keys.md, Expired depot"
    ]


def open_current(
    folder: pathlib.Path, root: Root | None, phrases: Result
) -> tuple[list[Signer], dict[str, DepotError]]:
    """Open the keys at hand that the newest root has for what expires; return signers, and why others stay closed."""
    if root is None:
        return [], {}
    names = [name for name in key_names(folder) if role_of(name) in _EXPIRING]
    keyids = {keyid for role in _EXPIRING for keyid in root.roles[role].keyids}
    return open_signers(folder, names, keyids, {str(name): str(value) for name, value in phrases.items()})


@contextlib.contextmanager
def telling_closed(closed: t.Mapping[str, DepotError]) -> t.Iterator[None]:
    """Where too few keys of a role can sign, say why one of them stays closed."""
    try:
        yield
    except DepotError as exc:
        for name, error in closed.items():
            if role_of(name) == exc.details.get("role"):
                raise error from exc
        raise


def told(known: Published, roots: t.Mapping[int, bytes]) -> Result:
    """Return what was published, for depot_write: metadata in the order in which it must be written."""
    return {
        "first_root": _text(roots[1]) if roots else None,
        "metadata": {name: _text(known.metadata[name]) for name in sorted(known.metadata, key=_order)},
        "targets": {path: list(file) for path, file in known.targets.items()},
        "manifests": {stack: _text(data) for stack, data in known.manifests.items()},
    }


def _order(name: str) -> tuple[int, str]:
    roles = ("root", "targets", "snapshot", "timestamp")
    role = name.removesuffix(".json").rpartition(".")[2]
    return roles.index(role) if role in roles else len(roles), name.zfill(32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
