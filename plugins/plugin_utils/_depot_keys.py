# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The folder of a fleet's keys: made, opened to sign, and known by their public parts where the private ones are not.

    <name>.pem       private key: Ed25519, PKCS #8, encrypted where there is a passphrase; or
    <name>.uri       where the private key is, as securesystemslib understands it, such as hsm:2
    <name>.pub       {"keyid", "keytype", "scheme", "public"}
    <n>.root.json    each root metadata there ever was

A name is a role and a number, such as root-1. Numbers are never used twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import stat
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import write_bytes
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tuf import KEY_NAME, ROLES
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs

try:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.exceptions import UnsupportedLibraryError
    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Signer, SSlibKey
except ImportError:  # tools that import every file; need_tuf() tells everybody else
    pass

Passphrases = t.Mapping[str, str]
"""By a key's name."""

_NAME = re.compile(rf"({'|'.join(ROLES)})-([1-9][0-9]{{0,5}})")
_ROOT = re.compile(r"([1-9][0-9]*)\.root\.json")
_ENCRYPTED = b"BEGIN ENCRYPTED PRIVATE KEY"
_SMALL = 1 << 20  # bytes; no file of the folder has more


def role_of(name: str) -> str:
    """Return the role that a key is for.

    Raises:
        DepotError: a key cannot be called so (`invalid`).
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise DepotError(
            f"key {name!r}: a key is called after its role, with a number, such as root-1; the roles are "
            f"{', '.join(ROLES)}",
            reason="invalid",
        )
    return match[1]


def key_names(folder: pathlib.Path) -> list[str]:
    """Return the names of the keys that have any file in the folder, by role and number."""
    found = {path.stem for path in folder.glob("*") if path.suffix in (".pem", ".uri", ".pub")}
    matches = [match for match in map(_NAME.fullmatch, found) if match]
    return [match[0] for match in sorted(matches, key=lambda match: (ROLES.index(match[1]), int(match[2])))]


def has_private(folder: pathlib.Path, name: str) -> bool:
    """Whether the private key is in the folder, or the folder says where it is."""
    return any((folder / f"{name}{suffix}").exists() for suffix in (".pem", ".uri"))


def is_encrypted(folder: pathlib.Path, name: str) -> bool:
    """Whether the private key is in the folder, and needs a passphrase.

    Raises:
        DepotError: the file cannot be read.
    """
    path = folder / f"{name}.pem"
    return path.exists() and _ENCRYPTED in _read(path)


def make_key(folder: pathlib.Path, name: str, passphrase: str | None = None) -> SSlibKey:
    """Return the public key of that name; what is missing of its files is made. A private key is never replaced.

    Raises:
        DepotError: the private key that is there cannot be opened, or something cannot be written.
    """
    role_of(name)
    if (folder / f"{name}.pub").exists():
        return read_public(folder, name)
    if (folder / f"{name}.uri").exists():
        raise DepotError(
            f"{folder}/{name}.uri says where a private key is, and {name}.pub is missing: write it from what the "
            "device tells of the key (docs/depot-keys.md, Keys on a device)",
            reason="key_missing",
            key=name,
        )
    with _telling(folder):
        make_dirs(str(folder), 0o700)
        if not (folder / f"{name}.pem").exists():
            write_bytes(str(folder / f"{name}.pem"), _encoded(Ed25519PrivateKey.generate(), passphrase), 0o600)
        public = _named(SSlibKey.from_crypto(_open_pem(folder, name, passphrase).public_key()), name)
        told = {"keyid": public.keyid, "keytype": public.keytype, "scheme": public.scheme}
        write_bytes(str(folder / f"{name}.pub"), canonical({**told, "public": public.keyval["public"]}), 0o644)
    return public


def read_public(folder: pathlib.Path, name: str) -> SSlibKey:
    """Return a public key; its private one may be anywhere.

    Raises:
        DepotError: it is not in the folder (`key_missing`), or is none (`invalid`).
    """
    role_of(name)
    path = folder / f"{name}.pub"
    try:
        document = json.loads(_read(path))
        key = SSlibKey(
            document["keyid"], document["keytype"], document["scheme"], {"public": str(document["public"])}, {}
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise DepotError(
            f"{path} is no public key ({type(exc).__name__} {exc}). Restore it from a copy; if {name}.pem is in the "
            "folder, remove the file, and it is made anew",
            reason="invalid",
        ) from exc
    return _named(key, name)


def open_signer(folder: pathlib.Path, name: str, passphrase: str | None = None) -> Signer:
    """Return what signs with a private key.

    Args:
        passphrase: of the file, or the PIN of the device that has the key.

    Raises:
        DepotError: the key is not there (`key_missing`), the passphrase is wrong or missing (`passphrase`), others may
            read the file, or the public part is another key's (`invalid`).
    """
    public = read_public(folder, name)
    if (folder / f"{name}.uri").exists():
        return _open_uri(folder / f"{name}.uri", public, passphrase)
    private = _open_pem(folder, name, passphrase)
    try:
        return CryptoSigner(private, public)
    except ValueError as exc:
        raise DepotError(
            f"{folder}/{name}.pem and {name}.pub are not of one key; restore both from the same copy", reason="invalid"
        ) from exc


def open_signers(
    folder: pathlib.Path, names: t.Iterable[str], keyids: t.Container[str], passphrases: Passphrases
) -> tuple[list[Signer], dict[str, DepotError]]:
    """Return the signers of those keys whose private parts are at hand; those elsewhere are left out.

    Args:
        keyids: ids of the keys that may sign; another one, such as one that was revoked, is not opened.

    Returns:
        Signers; and by name why a key stays closed: nobody gave its passphrase, or its device is not there. Who has
        enough of the others does not need it.

    Raises:
        DepotError: a passphrase is wrong, or a file cannot be relied on.
    """
    signers: list[Signer] = []
    closed: dict[str, DepotError] = {}
    for name in names:
        if not has_private(folder, name) or read_public(folder, name).keyid not in keyids:
            continue
        try:
            signers.append(open_signer(folder, name, passphrases.get(name)))
        except DepotError as exc:
            if exc.reason != "key_missing" and (exc.reason != "passphrase" or name in passphrases):
                raise
            closed[name] = exc
    return signers, closed


def read_roots(folder: pathlib.Path) -> dict[int, bytes]:
    """Return each root metadata there ever was, by version, oldest first; none before the first was made.

    Raises:
        DepotError: one is missing between others (`key_missing`).
    """
    found = {
        int(match[1]) for match in map(_ROOT.fullmatch, (path.name for path in folder.glob("*.root.json"))) if match
    }
    lacking = sorted(set(range(1, max(found, default=0) + 1)) - found)
    if lacking:
        raise DepotError(
            f"{folder}/{lacking[0]}.root.json is missing, and later ones are there: hosts need each of them. Restore "
            "it from a copy of the folder, or from metadata/ of any depot",
            reason="key_missing",
        )
    return {version: _read(folder / root_name(version)) for version in sorted(found)}


def write_root(folder: pathlib.Path, version: int, root: bytes) -> None:
    """Put a root metadata down, through to the disk.

    Raises:
        DepotError: the disk failed.
    """
    with _telling(folder):
        write_bytes(str(folder / root_name(version)), root, 0o644)


def root_name(version: int) -> str:
    """Return what a root metadata is called, here and in a depot's metadata."""
    return f"{version}.root.json"


def _encoded(private: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _open_pem(folder: pathlib.Path, name: str, passphrase: str | None) -> Ed25519PrivateKey:
    path = folder / f"{name}.pem"
    content = _read(path, private=True)
    encrypted = _ENCRYPTED in content
    if encrypted and not passphrase:
        raise _passphrase(path, "is encrypted, and no passphrase was given")
    try:
        # A key that was put there without one is opened, whatever passphrase was given.
        private = serialization.load_pem_private_key(content, passphrase.encode() if encrypted and passphrase else None)
    except ValueError:
        # Not `from` the cause, and without its words: those may tell of the content.
        if encrypted:
            raise _passphrase(path, "does not open with the passphrase that was given") from None
        raise _no_key(path) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise _no_key(path)
    return private


def _open_uri(path: pathlib.Path, public: SSlibKey, passphrase: str | None) -> Signer:
    uri = _read(path).decode(errors="replace").strip()
    scheme = uri.partition(":")[0]
    if scheme not in SIGNER_FOR_URI_SCHEME:
        raise DepotError(
            f"{path}: {scheme!r} is no kind of key; there are {', '.join(sorted(SIGNER_FOR_URI_SCHEME))}",
            reason="invalid",
        )

    def secret(_what: str) -> str:
        if not passphrase:
            raise _passphrase(path, "leads to a key that has a PIN, and none was given")
        return passphrase

    try:
        return Signer.from_priv_key_uri(uri, public, secret)
    except (UnsupportedLibraryError, ValueError, OSError) as exc:
        raise DepotError(
            f"{path}: the key at {uri} cannot be used ({exc}). Is the device plugged in, and the library there that "
            "speaks to it? See securesystemslib's documentation of signers",
            reason="key_missing",
        ) from exc


def _read(path: pathlib.Path, private: bool = False) -> bytes:
    """Return a file of the folder. One with a private key is opened only if nobody else may read it."""
    with _telling(path), contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))  # a link is fine: to a stick that is mounted elsewhere
        except FileNotFoundError:
            raise _key_missing(path) from None
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if private and mode & 0o077:
            raise DepotError(
                f"{path} can be read by others (mode {mode:04o}), and is a private key: chmod 600 {path}. On a stick "
                "with FAT, mount it with -o umask=077 instead. If others had access, the key counts as stolen: "
                "docs/depot-keys.md, Stolen key",
                reason="invalid",
            )
        return file.read(_SMALL)


def _named(key: SSlibKey, name: str) -> SSlibKey:
    key.unrecognized_fields[KEY_NAME] = name  # no part of what its id is made of
    return key


def _key_missing(path: pathlib.Path) -> DepotError:
    return DepotError(
        f"{path} is not there. Copy it from where it is kept, sign, and remove it again; if it is lost: "
        "docs/depot-keys.md, Lost key",
        reason="key_missing",
        key=path.stem,
    )


def _passphrase(path: pathlib.Path, why: str) -> DepotError:
    return DepotError(
        f"{path} {why}: pass that of {path.stem} in fleet_key_passphrases (option passphrases). Nobody can find out "
        "one that is forgotten: docs/depot-keys.md, Lost key",
        reason="passphrase",
        key=path.stem,
    )


def _no_key(path: pathlib.Path) -> DepotError:
    return DepotError(f"{path} is no private Ed25519 key in PEM; restore it from a copy", reason="invalid")


@contextlib.contextmanager
def _telling(path: pathlib.Path) -> t.Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise DepotError(f"{exc.filename or path}: {exc.strerror}", reason="io_error") from exc
