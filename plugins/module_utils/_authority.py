# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A certificate authority of the fleet's own, for names that no public one certifies: robots on networks of their own.

    <folder>/authority.key    0600; whoever has it can speak for every name of the fleet
    <folder>/authority.pem    what browsers and clients are given to trust
    <folder>/<name>.pem       a certificate, its authority's, and its key (0600)

By the command `openssl`, because every Debian host has it; the Python package `cryptography` would be one more thing to
install and to keep in step with the host's Python.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import subprocess
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import read_file, write_file, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

RENEW_BEFORE = 400 * 86400
"""Seconds of validity below which a certificate is renewed: a host that is visited once a year never lacks one."""

AUTHORITY = "authority"

_AUTHORITY_DAYS, _DAYS = "3650", "825"  # no longer than every client takes of an authority that its owner added
_KEY_IDS = ("subjectKeyIdentifier = hash", "authorityKeyIdentifier = keyid")
_AUTHORITY_EXTENSIONS = (
    "basicConstraints = critical,CA:TRUE,pathlen:0",
    "keyUsage = critical,keyCertSign,cRLSign",
    _KEY_IDS[0],
)
_EXTENSIONS = (
    "basicConstraints = critical,CA:FALSE",
    "keyUsage = critical,digitalSignature",
    "extendedKeyUsage = serverAuth",
    *_KEY_IDS,
)
_TIMEOUT = 60.0  # seconds for one command
_NAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LISTED = re.compile(r"(?:DNS|IP Address):([^,\s]+)")


@dataclass(frozen=True)
class Certificate:
    """A certificate, its authority's, and its key, in PEM; `renewed`: it was made just now."""

    pem: bytes
    renewed: bool


def key_argv() -> list[str]:
    """Return the command that prints a new key."""
    return ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]


def authority_argv(key: str, config: str) -> list[str]:
    """Return the command that prints an authority's own certificate."""
    return ["openssl", "req", "-x509", "-new", "-sha256", "-days", _AUTHORITY_DAYS, "-key", key, "-config", config]


def request_argv(key: str, config: str) -> list[str]:
    return ["openssl", "req", "-new", "-sha256", "-key", key, "-config", config]


def sign_argv(folder: str, request: str, config: str, serial: str) -> list[str]:
    """Return the command that prints a certificate for a request."""
    authority = ["-CA", f"{folder}/{AUTHORITY}.pem", "-CAkey", f"{folder}/{AUTHORITY}.key"]
    what = ["-set_serial", f"0x{serial}", "-days", _DAYS, "-extfile", config, "-extensions", "extensions"]
    return ["openssl", "x509", "-req", "-sha256", "-in", request, *authority, *what]


def verify_argv(folder: str, certificate: str) -> list[str]:
    """Return the command that fails unless the authority vouches for a certificate."""
    return ["openssl", "verify", "-CAfile", f"{folder}/{AUTHORITY}.pem", certificate]


def show_argv(certificate: str) -> list[str]:
    """Return the command that prints a certificate's names, and fails when it is to be renewed."""
    return ["openssl", "x509", "-in", certificate, "-noout", "-ext", "subjectAltName", "-checkend", str(RENEW_BEFORE)]


def config_text(name: str, extensions: t.Sequence[str]) -> str:
    """Return the settings of a request; `name` is shown to people."""
    lines = ["[req]", "prompt = no", "distinguished_name = subject", "x509_extensions = extensions"]
    return "\n".join([*lines, "[subject]", f"CN = {name}", "[extensions]", *extensions, ""])


def alternative_names(names: t.Iterable[str]) -> tuple[str, ...]:
    """Return names and addresses as OpenSSL takes them, each once, in their order.

    Raises:
        ReleaseError: there is none, or one is neither (`certificate_failed`).
    """
    found = [f"IP:{_address(name)}" if _address(name) else f"DNS:{name}" for name in sorted(set(names))]
    wrong = [entry for entry in found if entry.startswith("DNS:") and not _NAME.fullmatch(entry[4:])]
    if wrong or not found:
        what = f"{wrong[0][4:]!r} is neither a name in lower-case letters nor an address" if wrong else "it has no name"
        raise _failed(f"{what}; name the hosts that clients ask for")
    return tuple(found)


def shown_names(text: str) -> set[str]:
    """Read the names that OpenSSL shows."""
    return {f"IP:{_address(name)}" if _address(name) else f"DNS:{name}" for name in _LISTED.findall(text)}


def ensure_authority(folder: str) -> bool:
    """Make the authority unless there is one; return whether it was made. C(folder) becomes 0700.

    Raises:
        ReleaseError: OpenSSL is missing or fails (`certificate_failed`), or the disk does (`write_failed`).
    """
    key, certificate = (os.path.join(folder, f"{AUTHORITY}.{kind}") for kind in ("key", "pem"))
    if read_file(key) and read_file(certificate):
        return False
    with writing("the fleet's authority"):
        make_dirs(folder, 0o700)
        # The key is written once: a run that was cut off before the certificate goes on with it.
        if not read_file(key):
            write_file(key, _run(key_argv()), 0o600)
        with _scratch(folder, config_text("emorobcare.fleet authority", _AUTHORITY_EXTENSIONS)) as config:
            write_file(certificate, _run(authority_argv(key, config)), 0o644)
    return True


def ensure_certificate(folder: str, name: str, names: t.Iterable[str]) -> Certificate:
    """Return the certificate C(<folder>/<name>.pem) for names and addresses, made anew where that is due.

    That is when it has less than `RENEW_BEFORE` left, its names changed, or another authority made it.

    Raises:
        ReleaseError: as `ensure_authority`, a name is none, or the authority does not hold at this time.
    """
    wanted = alternative_names(names)
    ensure_authority(folder)
    path = os.path.join(folder, f"{name}.pem")
    content = read_file(path)
    if content and _is_good(folder, path, set(wanted)):
        return Certificate(content, renewed=False)
    extensions = (*_EXTENSIONS, f"subjectAltName = {','.join(wanted)}")
    with writing("a certificate"), _scratch(folder, config_text(name, extensions)) as config:
        key, request = f"{config}.key", f"{config}.csr"
        key_pem = _run(key_argv())
        write_file(key, key_pem, 0o600)
        write_file(request, _run(request_argv(key, config)), 0o600)
        # Positive, and not to be guessed: a serial is at most 20 bytes, the first bit 0.
        signed = _run(sign_argv(folder, request, config, f"01{secrets.token_hex(18)}"))
        unproven = f"{config}.pem"
        write_file(unproven, signed, 0o600)
        verified = _start(verify_argv(folder, unproven))
        if verified.returncode != 0:
            said = printable(verified.stderr.decode(errors="replace"))
            raise _failed(
                f"what {folder}/{AUTHORITY}.pem vouches for would be believed by nobody: {said}. If the clock of this "
                f"host is right, move {folder} away: the next run makes an authority, which clients must be given"
            )
        pem = signed + (read_file(os.path.join(folder, f"{AUTHORITY}.pem")) or b"") + key_pem
        write_file(path, pem, 0o600)
    return Certificate(pem, renewed=True)


def _is_good(folder: str, path: str, wanted: set[str]) -> bool:
    shown = _start(show_argv(path))
    if shown.returncode != 0 or shown_names(shown.stdout.decode(errors="replace")) != wanted:
        return False
    return _start(verify_argv(folder, path)).returncode == 0


@contextlib.contextmanager
def _scratch(folder: str, config: str) -> t.Iterator[str]:
    """Yield the path of a configuration in a folder that nobody else can enter and that goes with the block."""
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as scratch:
        path = os.path.join(scratch, "openssl.cnf")
        write_file(path, config.encode(), 0o600)
        yield path


def _run(argv: list[str]) -> bytes:
    done = _start(argv)
    if done.returncode != 0:
        raise _failed(f"{' '.join(argv[:2])} failed: {printable(done.stderr.decode(errors='replace'))}")
    return done.stdout


def _start(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        # Output may be a key: AnsibleModule.run_command would log it.
        return subprocess.run(  # pylint: disable=ansible-bad-function
            argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise _failed("the command openssl is not on this host; install it (Debian: openssl)") from None
    except subprocess.TimeoutExpired:
        raise _failed(f"{' '.join(argv[:2])} gave no answer within {_TIMEOUT:g} s") from None


def _address(name: str) -> str:
    """Return an address in its one form, empty where it is none."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return ""


def _failed(message: str) -> ReleaseError:
    return ReleaseError(f"certificate: {message}", reason="certificate_failed")
