# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import time
import typing as t
from pathlib import Path
from unittest import mock

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.emorobcare.fleet.plugins.action.depot_key import ActionModule
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import open_depot
from ansible_collections.emorobcare.fleet.plugins.modules import depot_key
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_keys import key_names, open_signer, read_roots
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import publish
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import Depot, make_host

SECRETS = {f"root-{number}": f"s3cret-{number}" for number in range(1, 8)}
FIRST = ["root-1", "root-2", "root-3", "timestamp-1", "snapshot-1", "targets-1"]


def run(folder: Path, check_mode: bool = False, **args: t.Any) -> dict[str, t.Any]:
    """Run the action as a task would; no secret may be in what it returns."""
    task = mock.MagicMock(spec=Task, check_mode=check_mode, async_val=0, environment=None, no_log=False)
    task.args = {"path": str(folder), "passphrases": SECRETS, **args}
    loader = DataLoader()
    action = ActionModule(task, mock.MagicMock(), mock.MagicMock(), loader, Templar(loader=loader), None)
    result = action.run(task_vars={})
    assert "s3cret" not in json.dumps(result)
    assert "PRIVATE" not in json.dumps(result)
    return result


def names(result: dict[str, t.Any]) -> list[str]:
    return [key["name"] for key in result["public_keys"]]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def take_away(folder: Path, *keys: str) -> None:
    for name in keys:
        (folder / f"{name}.pem").unlink()


@pytest.fixture(name="keys")
def keys_fixture(tmp_path: Path) -> Path:
    run(tmp_path / "keys")
    return tmp_path / "keys"


def test_keys_and_root_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = run(folder)
    assert (first["changed"], first["root_version"], first["root"]) == (True, 1, str(folder / "1.root.json"))
    assert names(first) == FIRST
    assert b"ENCRYPTED" in (folder / "root-1.pem").read_bytes()
    before = content(folder)
    again = run(folder)
    assert (again["changed"], again["diff"]["before"]) == (False, again["diff"]["after"])
    assert content(folder) == before


def test_check_mode_makes_nothing_and_tells_what_would_be_made(tmp_path: Path) -> None:
    told = run(tmp_path / "keys", check_mode=True)
    assert (told["changed"], told["root_version"], names(told)) == (True, 1, FIRST)
    assert {key["keyid"] for key in told["public_keys"]} == {"to be made"}
    assert not (tmp_path / "keys").exists()


def test_the_second_run_needs_no_private_key_and_no_passphrase(keys: Path) -> None:
    take_away(keys, *FIRST)
    told = run(keys, passphrases={})
    assert (told["changed"], names(told)) == (False, FIRST)
    assert not any(key["private"] for key in told["public_keys"])


def test_the_advice_says_which_private_keys_must_leave(keys: Path) -> None:
    take_away(keys, "root-2")
    advice = "\n".join(run(keys)["advice"])
    assert f"root-1: {keys}/root-1.pem" in advice
    assert "root-2" not in advice
    assert "targets-1: with whoever may release" in advice


def test_counts_and_thresholds_are_those_of_the_first_root(tmp_path: Path) -> None:
    told = run(tmp_path, counts={"targets": 3}, thresholds={"targets": 2})
    assert len([key for key in told["public_keys"] if key["role"] == "targets"]) == 3
    root = json.loads((tmp_path / "1.root.json").read_bytes())["signed"]["roles"]
    assert (root["targets"]["threshold"], root["root"]["threshold"], len(root["root"]["keyids"])) == (2, 2, 3)


@pytest.mark.parametrize(
    "args",
    [
        {"counts": {"root": 1}},
        {"counts": {"targets": 0}},
        {"thresholds": {"snapshot": 2}},
        {"expiry_days": 0},
        {"rotate": "root", "revoke": "root-1"},
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_cannot_work_is_refused_before_any_key_is_made(
    tmp_path: Path, args: dict[str, t.Any], check_mode: bool
) -> None:
    told = run(tmp_path / "keys", check_mode=check_mode, **args)
    assert (told["failed"], told["reason"]) == (True, "invalid")
    assert not (tmp_path / "keys").exists()


def test_a_role_is_rotated_and_check_mode_foretells_it(keys: Path) -> None:
    before = content(keys)
    foretold = run(keys, check_mode=True, rotate="timestamp")
    assert content(keys) == before
    told = run(keys, rotate="timestamp")
    assert names(told) == names(foretold) == [*FIRST[:3], "timestamp-2", *FIRST[4:]]
    assert (told["root_version"], told["changed"]) == (2, True)
    assert list(read_roots(keys)) == [1, 2]


def test_a_revoked_key_stays_revoked(keys: Path) -> None:
    told = run(keys, revoke="root-2")
    assert names(told)[:3] == ["root-1", "root-3", "root-4"]
    assert run(keys, revoke="root-2")["changed"] is False
    assert run(keys, revoke="root-9")["reason"] == "invalid"


def test_a_root_is_renewed(keys: Path) -> None:
    assert run(keys)["warnings"] == []
    told = run(keys, renew=True, expiry_days=30)
    assert (told["root_version"], names(told)) == (2, FIRST)
    assert "expires on" in told["warnings"][0]


@pytest.mark.parametrize("check_mode", [True, False])
def test_too_few_root_keys_make_no_root_and_no_new_keys(keys: Path, check_mode: bool) -> None:
    take_away(keys, "root-1", "root-3")
    before = content(keys)
    told = run(keys, check_mode=check_mode, rotate="timestamp")
    assert (told["reason"], told["needed"], told["here"]) == ("key_missing", 2, ["root-2"])
    assert content(keys) == before


@pytest.mark.parametrize(("given", "works"), [(("root-1", "root-3"), True), (("root-1",), False)])
def test_as_many_passphrases_as_must_sign_are_enough(keys: Path, given: tuple[str, ...], works: bool) -> None:
    told = run(keys, rotate="timestamp", passphrases={name: SECRETS[name] for name in given})
    assert told.get("reason") == (None if works else "passphrase")


def test_a_wrong_passphrase_is_told_although_others_would_do(keys: Path) -> None:
    told = run(keys, rotate="timestamp", passphrases={**SECRETS, "root-1": "wr0ng"})
    assert (told["reason"], told["key"], "wr0ng" in json.dumps(told)) == ("passphrase", "root-1", False)


ALL = {**SECRETS, "targets-1": "s3cret-t"}
OLD_ONLY = {name: secret for name, secret in ALL.items() if name != "root-4"}


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("change", "lost", "given", "new"),
    [
        pytest.param({"revoke": "targets-1"}, (), ALL, "targets-2", id="a key whose passphrase is given"),
        pytest.param({"rotate": "targets"}, ("targets-1",), ALL, "targets-2", id="a key that is elsewhere"),
        pytest.param({"revoke": "targets-1"}, (), SECRETS, "targets-2", id="a key whose passphrase is forgotten"),
        pytest.param({"revoke": "root-2"}, (), OLD_ONLY, "root-4", id="a root key"),
    ],
)
def test_an_encrypted_key_is_not_replaced_by_one_that_is_not(
    tmp_path: Path, change: dict[str, t.Any], lost: tuple[str, ...], given: dict[str, str], new: str, check_mode: bool
) -> None:
    run(tmp_path, passphrases=ALL)
    take_away(tmp_path, *lost)
    before = content(tmp_path)
    told = run(tmp_path, check_mode=check_mode, passphrases=given, **change)
    assert (told["reason"], told["key"], f"none was given for {new}" in told["msg"]) == ("passphrase", new, True)
    assert content(tmp_path) == before
    assert run(tmp_path, passphrases={**given, new: "s3cret-new"}, **change)["changed"]
    assert b"ENCRYPTED" in (tmp_path / f"{new}.pem").read_bytes()


def test_a_run_that_was_cut_off_before_the_root_goes_on(keys: Path) -> None:
    real = os.rename

    def rename(old: str, new: str) -> None:
        if new.endswith("2.root.json"):
            raise OSError(28, "No space left on device", new)
        real(old, new)

    with mock.patch.object(os, "rename", rename):
        assert run(keys, rotate="targets")["reason"] == "io_error"
    made = (keys / "targets-2.pub").read_bytes()
    assert names(run(keys, rotate="targets"))[-1] == "targets-2"
    assert ((keys / "targets-2.pub").read_bytes(), "targets-3" in key_names(keys)) == (made, False)


def test_a_torn_root_is_told_with_the_way_out(keys: Path) -> None:
    os.truncate(keys / "1.root.json", 100)
    told = run(keys, rotate="timestamp")
    assert (told["reason"], "from a copy" in told["msg"]) == ("unsigned", True)


def test_hosts_follow_the_keys_that_were_made(keys: Path, tmp_path: Path) -> None:
    places = make_host(tmp_path / "host", read_roots(keys)[1], built=int(time.time()) - 1)
    depot = Depot(tmp_path / "stick", {})
    changes: list[dict[str, t.Any]] = [{}, {"rotate": "root"}, {"rotate": "timestamp"}, {"revoke": "root-4"}]
    for change in changes:
        run(keys, **change)
        signers = [open_signer(keys, name) for name in key_names(keys) if "root" not in name]
        for name, data in publish(depot.files(), read_roots(keys), {}, (), signers, time.time()).items():
            (depot.metadata / name).write_bytes(data)
        assert open_depot(depot.source, places, time.time).versions["root"] == len(read_roots(keys))
    assert len(read_roots(keys)) == 4


def test_the_documentation_and_the_argument_spec_are_one() -> None:
    options = yaml.safe_load(depot_key.DOCUMENTATION)["options"]
    assert set(options) == set(depot_key.ARGUMENT_SPEC)
    for name, told in options.items():
        spec = depot_key.ARGUMENT_SPEC[name]
        for key in ("type", "choices", "default", "required"):
            assert told.get(key) == spec.get(key), (name, key)
        for role, sub in told.get("suboptions", {}).items():
            assert (sub["type"], sub["default"]) == (spec["options"][role]["type"], spec["options"][role]["default"])
