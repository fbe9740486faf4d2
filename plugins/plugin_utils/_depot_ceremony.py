# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Make a fleet's keys and roots: what is there, what is to be made, and the making."""

from __future__ import annotations

import pathlib
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tuf import KEY_NAME, ROLES, utc
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_keys import (
    Passphrases,
    has_private,
    is_encrypted,
    key_names,
    make_key,
    open_signer,
    open_signers,
    read_public,
    read_roots,
    role_of,
    write_root,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import (
    make_root,
    newest_root,
    read_root,
    rotate,
)

try:
    from securesystemslib.signer import CryptoSigner, Key, Signer
    from tuf.api.metadata import Root
except ImportError:  # tools that import every file; need_tuf() tells everybody else
    pass

_TO_BE_MADE = "to be made"


@dataclass(frozen=True)
class Wanted:
    """What a task asks for. `counts` and `thresholds` are by role, and only for the first root.

    At most one of `rotate` (a role), `revoke` (the id or the name of a key) and `renew` is there.
    """

    counts: t.Mapping[str, int]
    thresholds: t.Mapping[str, int]
    days: int
    rotate: str | None = None
    revoke: str | None = None
    renew: bool = False


@dataclass(frozen=True)
class Found:
    """What the folder has: ids of keys by name (None where the public part is yet to be made), and the roots."""

    keys: t.Mapping[str, str | None] = field(default_factory=dict)
    roots: t.Mapping[int, Root] = field(default_factory=dict)

    @property
    def root(self) -> Root | None:
        return self.roots[max(self.roots)] if self.roots else None


@dataclass(frozen=True)
class Plan:
    """What is to be made: keys by name, and the next root, in which `role` gains `add` and loses `remove` (ids)."""

    keys: tuple[str, ...] = ()
    version: int | None = None
    role: str = "root"
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.version is not None


def look(folder: pathlib.Path) -> tuple[Found, dict[int, bytes]]:
    """Return what is in a folder of keys, and its roots as they are.

    Raises:
        DepotError: a file of it cannot be relied on.
    """
    names = key_names(folder)
    keys = {name: read_public(folder, name).keyid if (folder / f"{name}.pub").exists() else None for name in names}
    roots = read_roots(folder)
    return Found(keys, {version: read_root(data) for version, data in roots.items()}), roots


def make_plan(wanted: Wanted, found: Found) -> Plan:
    """Decide what to make.

    Raises:
        DepotError: the task contradicts itself, or asks for a change of what is not there.
    """
    asked = [what for what in ("rotate", "revoke", "renew") if getattr(wanted, what)]
    if len(asked) > 1:
        raise DepotError(f"{' and '.join(asked)} cannot be asked for at once: each makes a root", reason="invalid")
    if found.root is None:
        if asked:
            raise DepotError(
                f"{asked[0]}: the folder has no root metadata yet. Make the keys first, without {asked[0]}; if there "
                "were some, restore the folder from its copy",
                reason="key_missing",
            )
        return _first(wanted, found)
    version = found.root.version + 1
    if wanted.renew:
        return Plan((), version)
    if wanted.rotate:
        return _replacing(found, wanted.rotate, tuple(found.root.roles[wanted.rotate].keyids), version)
    if wanted.revoke:
        return _revoking(wanted.revoke, found, found.root)
    return Plan()


def _first(wanted: Wanted, found: Found) -> Plan:
    names = [f"{role}-{number + 1}" for role in ROLES for number in range(wanted.counts[role])]
    return Plan(tuple(name for name in names if found.keys.get(name) is None), 1, add=tuple(names))


def _revoking(key: str, found: Found, root: Root) -> Plan:
    keyid = found.keys.get(key) or key
    for role in ROLES:
        if keyid in root.roles[role].keyids:
            return _replacing(found, role, (keyid,), root.version + 1)
    if any(keyid in old.keys for old in found.roots.values()):
        return Plan()  # it was revoked before
    raise DepotError(
        f"revoke: {key!r} is no key of this fleet; there are {', '.join(sorted(found.keys))}", reason="invalid"
    )


def _replacing(found: Found, role: str, remove: tuple[str, ...], version: int) -> Plan:
    """Plan as many new keys as old ones go: first those that a run which was cut off has made already."""
    used = {keyid for root in found.roots.values() for keyid in root.keys}
    ours = [name for name in found.keys if role_of(name) == role]
    add = [name for name in ours if found.keys[name] not in used][: len(remove)]
    last = max((int(name.rpartition("-")[2]) for name in ours), default=0)
    add += [f"{role}-{last + number + 1}" for number in range(len(remove) - len(add))]
    return Plan(tuple(name for name in add if found.keys.get(name) is None), version, role, tuple(add), remove)


def carry_out(
    folder: pathlib.Path, plan: Plan, wanted: Wanted, roots: t.Mapping[int, bytes], phrases: Passphrases, now: float
) -> bytes:
    """Make the planned keys, then the root; return it. Cut off in between, the next run goes on with the same keys.

    Raises:
        DepotError: a key that must sign is not there or does not open.
    """
    foresee(folder, plan, wanted, roots, phrases, now)  # before anything is made that then cannot be used
    for name in plan.keys:
        make_key(folder, name, phrases.get(name))
    added = {name: read_public(folder, name) for name in plan.add}
    new = [open_signer(folder, name, phrases.get(name)) for name in plan.add if role_of(name) == "root"]
    root = _next_root(plan, wanted, roots, added, [*_old_signers(folder, plan, roots, phrases)[0], *new], now)
    write_root(folder, t.cast("int", plan.version), root)
    return root


def foresee(
    folder: pathlib.Path, plan: Plan, wanted: Wanted, roots: t.Mapping[int, bytes], phrases: Passphrases, now: float
) -> None:
    """Refuse whatever the making would refuse, and make nothing: keys that are thrown away stand for new ones.

    Raises:
        DepotError: a key that must sign is not there or does not open, or a new one would not be encrypted though the
            old one is.
    """
    _refuse_bare(folder, plan, roots, phrases)
    added: dict[str, Key] = {}
    new: list[Signer] = []
    for name in plan.add:
        made = name in plan.keys
        signer = CryptoSigner.generate_ed25519() if made else None
        added[name] = signer.public_key if signer else read_public(folder, name)
        if role_of(name) == "root":
            new.append(signer or open_signer(folder, name, phrases.get(name)))
    signers, closed = _old_signers(folder, plan, roots, phrases)
    try:
        _next_root(plan, wanted, roots, added, [*signers, *new], now)
    except DepotError as exc:
        if exc.reason == "key_missing" and closed:
            raise next(iter(closed.values())) from exc
        raise


def _refuse_bare(folder: pathlib.Path, plan: Plan, roots: t.Mapping[int, bytes], phrases: Passphrases) -> None:
    """Refuse to replace a key that has a passphrase by one without: the vault may know the old one's name alone."""
    bare = [name for name in plan.keys if not phrases.get(name)]
    if not roots or not bare:
        return
    root = newest_root(roots)
    old = [_name(root, keyid) for keyid in plan.remove]
    closed = [name for name in old if phrases.get(name) or is_encrypted(folder, name)]
    if closed:
        raise DepotError(
            f"{closed[0]} has a passphrase, and none was given for {', '.join(bare)}, which would be written "
            "unencrypted in its place. No key was made: add a passphrase under that name to fleet_key_passphrases "
            "(option passphrases; ansible-vault edit, if it is a vault), and run this again",
            reason="passphrase",
            key=bare[0],
        )


def _next_root(
    plan: Plan,
    wanted: Wanted,
    roots: t.Mapping[int, bytes],
    added: t.Mapping[str, Key],
    signers: t.Sequence[Signer],
    now: float,
) -> bytes:
    if not roots:
        keys = {role: [key for name, key in added.items() if role_of(name) == role] for role in ROLES}
        return make_root(keys, signers, now, wanted.thresholds, wanted.days)
    return rotate(roots[max(roots)], plan.role, list(added.values()), plan.remove, signers, now, wanted.days)


def _old_signers(
    folder: pathlib.Path, plan: Plan, roots: t.Mapping[int, bytes], phrases: Passphrases
) -> tuple[list[Signer], dict[str, DepotError]]:
    """Open the root keys of the newest root that are at hand."""
    if not roots:
        return [], {}
    names = [name for name in key_names(folder) if name not in plan.keys]
    return open_signers(folder, names, newest_root(roots).roles["root"].keyids, phrases)


def facts(folder: pathlib.Path, found: Found) -> dict[str, t.Any]:
    """Return what anybody may know of the keys: of the newest root, and of each key that it names."""
    root = found.root
    if root is None:
        return {"root_version": 0, "expires": "", "public_keys": []}
    keys = [
        {"name": _name(root, keyid), "role": role, "keyid": keyid, "private": has_private(folder, _name(root, keyid))}
        for role in ROLES
        for keyid in root.roles[role].keyids
    ]
    return {"root_version": root.version, "expires": utc(root.expires.timestamp()), "public_keys": keys}


def planned_facts(before: t.Mapping[str, t.Any], plan: Plan) -> dict[str, t.Any]:
    """Return what the facts will be, as far as that can be known; ids of keys that are to be made cannot."""
    if not plan.changed:
        return dict(before)
    kept = [key for key in before["public_keys"] if key["keyid"] not in plan.remove]
    new = [{"name": name, "role": role_of(name), "keyid": _TO_BE_MADE, "private": True} for name in plan.add]
    keys = sorted([*kept, *new], key=lambda key: ROLES.index(key["role"]))
    return {"root_version": plan.version, "expires": _TO_BE_MADE, "public_keys": keys}


def advice(folder: pathlib.Path, told: t.Mapping[str, t.Any]) -> list[str]:
    """Return in lines for people which private keys must not stay together, and where they belong."""
    here = [key for key in told["public_keys"] if key["private"]]
    files = [key["name"] for key in here if not (folder / f"{key['name']}.uri").exists()]
    roots = [name for name in files if role_of(name) == "root"]
    lines = [f"{folder}: root metadata version {told['root_version']}, good until {told['expires']}"]
    if roots:
        lines.append(
            "Copy these away now, each to a place of its own (a stick in a safe, another site), and remove them:"
        )
        lines += [f"  {name}: {folder / name}.pem" for name in roots]
        lines.append("They sign the next root and nothing else: whoever has enough of them has the fleet.")
    for role, where in (
        ("targets", "with whoever may release; several people: one each"),
        ("snapshot", "here, where depots are written"),
        ("timestamp", "here, where depots are written and renewed"),
    ):
        names = [key["name"] for key in here if key["role"] == role]
        if names:
            lines.append(f"  {', '.join(names)}: {where}")
    lines.append(
        f"Keep a copy of the rest of {folder}: *.pub and *.root.json are no secrets, and are never made again."
    )
    return lines


def _name(root: Root, keyid: str) -> str:
    return str(root.keys[keyid].unrecognized_fields.get(KEY_NAME, keyid))
