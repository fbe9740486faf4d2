# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import pathlib
import subprocess
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.emorobcare.fleet.plugins.module_utils import _authority
from ansible_collections.emorobcare.fleet.plugins.module_utils._authority import (
    alternative_names,
    config_text,
    ensure_authority,
    ensure_certificate,
    shown_names,
    sign_argv,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

NAMES = ["robot.lan", "10.0.0.7", "::1"]


def openssl(*words: str) -> str:
    return subprocess.run(["openssl", *words], capture_output=True, text=True, check=True).stdout


def mode(path: pathlib.Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "authority"


def test_a_certificate_is_made_once_and_is_the_authority_s(folder: pathlib.Path) -> None:
    first = ensure_certificate(str(folder), "robot", NAMES)
    again = ensure_certificate(str(folder), "robot", reversed(NAMES))
    assert (first.renewed, again.renewed, again.pem == first.pem) == (True, False, True)
    assert "OK" in openssl("verify", "-CAfile", f"{folder}/authority.pem", f"{folder}/robot.pem")
    shown = openssl("x509", "-in", f"{folder}/robot.pem", "-noout", "-ext", "subjectAltName")
    assert shown_names(shown) == {"DNS:robot.lan", "IP:10.0.0.7", "IP:::1"}
    assert first.pem.count(b"BEGIN CERTIFICATE") == 2
    assert first.pem.count(b"PRIVATE KEY") == 2


def test_keys_are_for_their_owner_alone_and_nothing_else_is_left(folder: pathlib.Path) -> None:
    ensure_certificate(str(folder), "robot", NAMES)
    modes = {path.name: mode(path) for path in folder.iterdir()}
    assert modes == {"authority.key": 0o600, "authority.pem": 0o644, "robot.pem": 0o600}
    assert mode(folder) == 0o700


def lose_the_authority(folder: pathlib.Path, _monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for path in folder.glob("authority.*"):
        path.unlink()
    return NAMES


def let_time_pass(_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(_authority, "RENEW_BEFORE", 826 * 86400)
    return NAMES


def change_names(_folder: pathlib.Path, _monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return [*NAMES, "other.lan"]


def damage(folder: pathlib.Path, _monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (folder / "robot.pem").write_text("x")
    return NAMES


@pytest.mark.parametrize("change", [lose_the_authority, let_time_pass, change_names, damage])
def test_a_certificate_is_renewed_when_that_is_due(
    folder: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    change: t.Callable[[pathlib.Path, pytest.MonkeyPatch], list[str]],
) -> None:
    before = ensure_certificate(str(folder), "robot", NAMES)
    after = ensure_certificate(str(folder), "robot", change(folder, monkeypatch))
    assert after.renewed
    assert after.pem != before.pem


def test_an_authority_is_kept_and_finished_when_a_run_was_cut_off(folder: pathlib.Path) -> None:
    assert ensure_authority(str(folder))
    assert not ensure_authority(str(folder))
    key = (folder / "authority.key").read_bytes()
    (folder / "authority.pem").unlink()
    assert ensure_authority(str(folder))
    assert (folder / "authority.key").read_bytes() == key


def test_an_authority_that_does_not_hold_any_more_is_named_with_the_way_out(folder: pathlib.Path) -> None:
    ensure_authority(str(folder))
    key = serialization.load_pem_private_key((folder / "authority.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    long_ago = datetime.datetime(2020, 1, 1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, long_ago, long_ago + datetime.timedelta(days=9))
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    (folder / "authority.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    with pytest.raises(ReleaseError, match=r"certificate has expired.* move .* away"):
        ensure_certificate(str(folder), "robot", NAMES)
    assert sorted(path.name for path in folder.iterdir()) == ["authority.key", "authority.pem"]


WRONG = [
    pytest.param([], "it has no name", id="none"),
    pytest.param(["Robot"], "'Robot' is neither a name in lower-case letters nor an address", id="upper case"),
    pytest.param(["a,DNS:b"], "'a,DNS:b' is neither", id="more than a name"),
    pytest.param(["a\nb"], "is neither", id="a line break"),
]


@pytest.mark.parametrize(("names", "message"), WRONG)
def test_what_is_no_name_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(ReleaseError, match=message) as caught:
        alternative_names(names)
    assert caught.value.reason == "certificate_failed"


def test_names_may_be_wildcards() -> None:
    assert alternative_names(["*.lan", "a", "a"]) == ("DNS:*.lan", "DNS:a")


def test_no_secret_is_an_argument() -> None:
    assert sign_argv("/f", "/f/x.csr", "/f/x.cnf", "01ab") == [
        *("openssl", "x509", "-req", "-sha256", "-in", "/f/x.csr"),
        *("-CA", "/f/authority.pem", "-CAkey", "/f/authority.key"),
        *("-set_serial", "0x01ab", "-days", "825", "-extfile", "/f/x.cnf", "-extensions", "extensions"),
    ]
    assert config_text("n", ["a = b"]).splitlines()[-2:] == ["[extensions]", "a = b"]


def test_a_missing_openssl_is_named_with_the_way_out(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ReleaseError, match="openssl is not on this host; install it"):
        ensure_authority(str(folder))
