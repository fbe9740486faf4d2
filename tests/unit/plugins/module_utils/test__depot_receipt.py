# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Receipts: signed by a real key, read back, and not believed from anybody else."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_receipt import (
    KEPT,
    Receipt,
    Signed,
    held_by_all,
    is_genuine,
    make_key,
    parse_receipt,
    read_receipts,
    sign,
    write_receipt,
)

A, B, C = "a" * 64, "b" * 64, "c" * 64
RECEIPT = Receipt(
    "robot-7",
    1_800_000_000,
    {"shop": {"id": A, "counter": 3, "state": "committed", "gate": []}},
    frozenset({A, B}),
)


@pytest.fixture(name="key")
def key_fixture(tmp_path: pathlib.Path) -> str:
    key = str(tmp_path / "trust" / "host_ed25519")
    make_key(key, "robot-7")
    return key


def public(key: str) -> str:
    return make_key(key, "robot-7")


def test_a_receipt_is_read_as_it_was_signed(key: str) -> None:
    signed = sign(RECEIPT, key)
    read = parse_receipt(signed.encode())
    assert read == signed
    assert is_genuine(read, public(key))


def test_a_key_is_made_once_and_only_root_reads_it(key: str) -> None:
    before = pathlib.Path(key).read_bytes()
    assert make_key(key, "robot-7").startswith("ssh-ed25519 ")
    assert pathlib.Path(key).read_bytes() == before
    assert os.stat(key).st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"time": 1}, id="another time"),
        pytest.param({"digests": frozenset({A, B, C})}, id="more than it holds"),
        pytest.param({"releases": {}}, id="other releases"),
        pytest.param({"host": "robot-8"}, id="another host"),
    ],
)
def test_a_receipt_that_was_changed_is_not_genuine(key: str, change: dict[str, t.Any]) -> None:
    signed = sign(RECEIPT, key)
    assert not is_genuine(dataclasses.replace(signed, receipt=dataclasses.replace(RECEIPT, **change)), public(key))


def test_a_receipt_of_another_key_or_of_none_is_not_genuine(key: str, tmp_path: pathlib.Path) -> None:
    other = str(tmp_path / "other")
    make_key(other, "robot-7")
    assert not is_genuine(sign(RECEIPT, other), public(key))
    assert not is_genuine(Signed(RECEIPT, ""), public(key))
    assert not is_genuine(sign(RECEIPT, key), "no key")


def test_a_host_that_was_not_enrolled_cannot_sign(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DepotError, match="enrol it again") as refusal:
        sign(RECEIPT, str(tmp_path / "none"))
    assert refusal.value.reason == "key_missing"


def test_a_host_without_ssh_is_told_what_to_install(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DepotError, match="openssh-client"):
        make_key(str(tmp_path / "key"), "robot-7")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"schema":2}',
        b"[" * 100_000,
        json.dumps({**json.loads(Signed(RECEIPT, "").encode()), "digests": ["../x"]}).encode(),
        json.dumps({**json.loads(Signed(RECEIPT, "").encode()), "host": "../x"}).encode(),
        json.dumps({**json.loads(Signed(RECEIPT, "").encode()), "releases": [1]}).encode(),
        json.dumps({**json.loads(Signed(RECEIPT, "").encode()), "time": -1}).encode(),
        json.dumps({**json.loads(Signed(RECEIPT, "").encode()), "time": 10**18}).encode(),
        Signed(RECEIPT, "").encode().replace(b"1800000000", b"1e999"),
        json.dumps({**json.loads(Signed(RECEIPT, "").encode()), "refused": {"reason": "\ud800"}}).encode(),
    ],
)
def test_what_is_no_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(DepotError, match="no receipt"):
        parse_receipt(data)


def test_receipts_on_a_stick_are_numbered_and_the_oldest_go(key: str, tmp_path: pathlib.Path) -> None:
    signed = sign(RECEIPT, key)
    depot = tmp_path / "depot"
    written = [write_receipt(str(depot / "receipts"), signed) for _round in range(KEPT + 3)]
    assert written[0] == "robot-7/1.json"
    assert written[-1] == f"robot-7/{KEPT + 3}.json"
    read = read_receipts(Folder(str(depot)))
    assert len(read) == KEPT
    assert read[-1].path.endswith(written[-1])


def test_what_is_no_receipt_on_a_stick_is_passed_over(key: str, tmp_path: pathlib.Path) -> None:
    depot = tmp_path / "depot"
    write_receipt(str(depot / "receipts"), sign(RECEIPT, key))
    place = depot / "receipts" / "robot-7"
    (place / "2.json").write_bytes(b"cut o")
    (place / "note.txt").write_bytes(b"")
    (depot / "receipts" / "desktop.ini").write_bytes(b"")
    (depot / "receipts" / "link").symlink_to(place)
    (depot / "receipts" / "robot-8").mkdir()
    (depot / "receipts" / "robot-8" / "1.json").write_bytes((place / "1.json").read_bytes())
    assert [one.receipt.host for one in read_receipts(Folder(str(depot)))] == ["robot-7"]
    assert [len(read_receipts(Folder(str(depot)), host)) for host in ("robot-7", "robot-8", "robot-9")] == [1, 0, 0]
    assert read_receipts(Folder(str(tmp_path))) == []


def test_only_what_every_host_holds_may_be_left_out() -> None:
    old = Receipt("one", 1, digests=frozenset({A, B, C}))
    receipts = [Receipt("one", 2, digests=frozenset({A, B})), old, Receipt("two", 1, digests=frozenset({B, C}))]
    assert held_by_all(receipts, ["one", "two"], 9) == {B}
    assert held_by_all(receipts, ["one"], 9) == {A, B}
    assert held_by_all(receipts, [], 9) == frozenset()


def test_a_host_without_a_receipt_is_named() -> None:
    with pytest.raises(DepotError, match="no receipt of three") as refusal:
        held_by_all([Receipt("one", 1)], ["one", "three"], 9)
    assert refusal.value.reason == "base_missing"
