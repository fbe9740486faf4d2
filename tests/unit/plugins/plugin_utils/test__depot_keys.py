# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_keys import (
    has_private,
    key_names,
    make_key,
    open_signer,
    open_signers,
    read_public,
    read_roots,
    role_of,
    write_root,
)

SECRET = "correct horse battery"


def refused(folder: Path, name: str = "root-1", passphrase: str | None = None) -> DepotError:
    with pytest.raises(DepotError) as caught:
        open_signer(folder, name, passphrase)
    return caught.value


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_a_key_is_made_once_and_signs(tmp_path: Path, passphrase: str | None) -> None:
    folder = tmp_path / "new" / "keys"
    public = make_key(folder, "root-1", passphrase)
    pem = (folder / "root-1.pem").read_bytes()
    assert (b"ENCRYPTED" in pem) is (passphrase is not None)
    signature = open_signer(folder, "root-1", passphrase).sign(b"payload")
    public.verify_signature(signature, b"payload")
    assert make_key(folder, "root-1", passphrase) == public
    assert (folder / "root-1.pem").read_bytes() == pem


def test_nobody_else_may_read_a_private_key_and_everybody_a_public_one(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        make_key(tmp_path / "keys", "root-1")
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}
    assert modes == {"root-1.pem": 0o600, "root-1.pub": 0o644}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_the_public_part_needs_neither_the_private_one_nor_a_passphrase(tmp_path: Path) -> None:
    public = make_key(tmp_path, "root-1", SECRET)
    (tmp_path / "root-1.pem").unlink()
    assert read_public(tmp_path, "root-1") == public
    document = json.loads((tmp_path / "root-1.pub").read_bytes())
    assert sorted(document) == ["keyid", "keytype", "public", "scheme"]
    assert not has_private(tmp_path, "root-1")
    assert key_names(tmp_path) == ["root-1"]


def test_a_missing_private_key_is_named_with_the_way_out(tmp_path: Path) -> None:
    make_key(tmp_path, "root-1")
    (tmp_path / "root-1.pem").unlink()
    error = refused(tmp_path)
    assert (error.reason, error.details["key"]) == ("key_missing", "root-1")
    assert f"{tmp_path}/root-1.pem is not there" in str(error)
    assert "Lost key" in str(error)


@pytest.mark.parametrize("given", [None, "", "hunter2"])
def test_a_wrong_or_missing_passphrase_is_refused_and_never_shown(tmp_path: Path, given: str | None) -> None:
    make_key(tmp_path, "root-1", SECRET)
    error = refused(tmp_path, passphrase=given)
    assert error.reason == "passphrase"
    assert "root-1.pem" in str(error)
    assert "fleet_key_passphrases" in str(error)
    assert not given or given not in str(error)
    assert error.__cause__ is None


def test_a_key_without_a_passphrase_opens_whatever_one_is_given(tmp_path: Path) -> None:
    public = make_key(tmp_path, "root-1")
    assert open_signer(tmp_path, "root-1", "needless").public_key == public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610])
def test_a_private_key_that_others_can_read_is_refused_with_the_command(tmp_path: Path, mode: int) -> None:
    make_key(tmp_path, "root-1")
    (tmp_path / "root-1.pem").chmod(mode)
    error = refused(tmp_path)
    assert (error.reason, f"chmod 600 {tmp_path}/root-1.pem" in str(error)) == ("invalid", True)


def test_a_key_on_a_mounted_stick_may_be_linked(tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    public = make_key(tmp_path / "keys", "root-1")
    (tmp_path / "keys" / "root-1.pem").rename(tmp_path / "stick" / "root-1.pem")
    (tmp_path / "keys" / "root-1.pem").symlink_to(tmp_path / "stick" / "root-1.pem")
    assert open_signer(tmp_path / "keys", "root-1").public_key == public


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\xff\x00"]
)
def test_what_is_no_private_key_is_refused(tmp_path: Path, content: bytes) -> None:
    make_key(tmp_path, "root-1")
    (tmp_path / "root-1.pem").write_bytes(content)
    assert refused(tmp_path).reason == "invalid"


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path, "root-1")
    pem = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "root-1.pem").write_bytes(pem)
    assert "no private Ed25519 key" in str(refused(tmp_path))


def test_parts_of_two_keys_are_refused(tmp_path: Path) -> None:
    make_key(tmp_path, "root-1")
    make_key(tmp_path, "root-2")
    (tmp_path / "root-2.pem").replace(tmp_path / "root-1.pem")
    assert "not of one key" in str(refused(tmp_path))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"keyid": 1}'])
def test_a_torn_public_key_is_refused_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    make_key(tmp_path, "root-1")
    (tmp_path / "root-1.pub").write_bytes(content)
    with pytest.raises(DepotError, match="remove the file, and it is made anew"):
        read_public(tmp_path, "root-1")


def test_a_public_part_that_a_crash_kept_from_being_written_is_made_from_the_private_one(tmp_path: Path) -> None:
    public = make_key(tmp_path, "root-1", SECRET)
    (tmp_path / "root-1.pub").unlink()
    (tmp_path / "root-1.pem.new").write_bytes(b"torn")
    assert make_key(tmp_path, "root-1", SECRET) == public


def test_a_full_disk_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(DepotError) as caught:
            make_key(tmp_path, "root-1")
    assert (caught.value.reason, key_names(tmp_path)) == ("io_error", [])
    assert make_key(tmp_path, "root-1")


def test_a_key_elsewhere_is_reached_by_its_uri(tmp_path: Path) -> None:
    public = make_key(tmp_path / "keys", "targets-1")
    (tmp_path / "keys" / "targets-1.pem").rename(tmp_path / "device.pem")
    (tmp_path / "keys" / "targets-1.uri").write_text(f"file2:{tmp_path}/device.pem\n")
    signer = open_signer(tmp_path / "keys", "targets-1")
    public.verify_signature(signer.sign(b"x"), b"x")
    (tmp_path / "device.pem").unlink()
    assert refused(tmp_path / "keys", "targets-1").reason == "key_missing"


@pytest.mark.parametrize(("uri", "reason"), [("floppy:1", "invalid"), ("", "invalid"), ("hsm:2", "key_missing")])
def test_a_uri_that_leads_nowhere_is_refused(tmp_path: Path, uri: str, reason: str) -> None:
    make_key(tmp_path, "targets-1")
    (tmp_path / "targets-1.uri").write_text(uri)
    error = refused(tmp_path, "targets-1", "123456")
    assert (error.reason, "123456" in str(error)) == (reason, False)


def test_no_second_key_is_made_beside_one_on_a_device(tmp_path: Path) -> None:
    (tmp_path / "root-1.uri").write_text("hsm:2")
    with pytest.raises(DepotError, match=r"root-1\.pub is missing"):
        make_key(tmp_path, "root-1")
    assert [path.name for path in tmp_path.iterdir()] == ["root-1.uri"]


@pytest.mark.parametrize("name", ["root", "root-0", "root-01", "admin-1", "root-1/../x", "", "root-1.pem"])
def test_a_name_says_role_and_number(name: str) -> None:
    with pytest.raises(DepotError) as caught:
        role_of(name)
    assert caught.value.reason == "invalid"


def test_names_are_in_the_order_of_roles_and_numbers(tmp_path: Path) -> None:
    for name in ("root-10.pub", "root-9.pem", "targets-1.uri", "timestamp-1.pub", "notes.pem", "1.root.json"):
        (tmp_path / name).touch()
    assert key_names(tmp_path) == ["root-9", "root-10", "timestamp-1", "targets-1"]
    assert key_names(tmp_path / "missing") == []


def test_only_keys_at_hand_are_opened(tmp_path: Path) -> None:
    for name in ("root-1", "root-2"):
        make_key(tmp_path, name, SECRET)
    (tmp_path / "root-2.pem").unlink()
    ids = [read_public(tmp_path, name).keyid for name in ("root-1", "root-2")]
    signers, closed = open_signers(tmp_path, ["root-1", "root-2"], ids, {"root-1": SECRET})
    assert ([signer.public_key.keyid for signer in signers], closed) == (ids[:1], {})


def test_a_key_that_may_not_sign_is_not_opened(tmp_path: Path) -> None:
    for name in ("targets-1", "targets-2"):
        make_key(tmp_path, name, SECRET)
    (tmp_path / "targets-1.pem").write_bytes(b"torn")
    ids = [read_public(tmp_path, "targets-2").keyid]
    signers, closed = open_signers(tmp_path, ["targets-1", "targets-2"], ids, {"targets-2": SECRET})
    assert ([signer.public_key.keyid for signer in signers], closed) == (ids, {})


def test_why_a_key_stays_closed_is_told_and_the_others_are_opened(tmp_path: Path) -> None:
    for name in ("targets-1", "targets-2", "targets-3"):
        make_key(tmp_path, name, SECRET)
    (tmp_path / "targets-2.uri").write_text("hsm:2\n")
    ids = [read_public(tmp_path, name).keyid for name in ("targets-1", "targets-2", "targets-3")]
    signers, closed = open_signers(tmp_path, ["targets-1", "targets-2", "targets-3"], ids, {"targets-3": SECRET})
    assert [signer.public_key.keyid for signer in signers] == ids[2:]
    assert {name: error.reason for name, error in closed.items()} == {
        "targets-1": "passphrase",
        "targets-2": "key_missing",
    }
    with pytest.raises(DepotError, match="does not open"):
        open_signers(tmp_path, ["targets-1"], ids, {"targets-1": "hunter2"})


def test_roots_come_in_order_and_none_may_lack(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        write_root(tmp_path, version, b"%d" % version)
    with pytest.raises(DepotError, match=r"3\.root\.json is missing") as caught:
        read_roots(tmp_path)
    assert caught.value.reason == "key_missing"
    (tmp_path / "10.root.json").unlink()
    assert list(read_roots(tmp_path).items()) == [(1, b"1"), (2, b"2")]
