# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import re
import shutil
import time
import typing as t
from pathlib import Path
from unittest import mock

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.emorobcare.fleet.plugins.action import depot_key, depot_sign
from ansible_collections.emorobcare.fleet.plugins.action.depot_sign import ActionModule
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import target_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import Trusted, open_depot, read_release
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import (
    DAY,
    Depot,
    make_host,
    make_manifest,
)

SECRETS = {f"root-{number}": f"s3cret-{number}" for number in range(1, 4)}
Result = dict[str, t.Any]


def act(action: type, arguments: Result, check_mode: bool = False) -> Result:
    """Run an action as a task would; no secret may be in what it returns."""
    task = mock.MagicMock(spec=Task, check_mode=check_mode, async_val=0, environment=None, no_log=False)
    task.args = arguments
    loader = DataLoader()
    made = action(task, mock.MagicMock(), mock.MagicMock(), loader, Templar(loader=loader), None)
    result = t.cast("Result", made.run(task_vars={}))
    assert "s3cret" not in json.dumps(result)
    assert "PRIVATE" not in json.dumps(result)
    return result


def sign(keys: Path, manifest: Manifest | None = None, check_mode: bool = False, **arguments: t.Any) -> Result:
    given = {} if manifest is None else {"manifest": base64.b64encode(manifest.encode()).decode()}
    return act(ActionModule, {"keys": str(keys), **given, **arguments}, check_mode)


def make(folder: Path, **arguments: t.Any) -> Path:
    """Make keys, or the next root."""
    made = act(depot_key.ActionModule, {"path": str(folder), "passphrases": SECRETS, **arguments})
    assert made.get("changed"), made
    return folder


def metadata(result: Result) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in result["metadata"].items()}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def release(counter: int = 1, stack: str = "demo") -> Manifest:
    return make_manifest([b"{}", f"{stack} {counter}".encode()], counter, stack=stack)


class Stick:
    """A stick that gets metadata as depot_write would write it, and a host that is given it."""

    def __init__(self, folder: Path, keys: Path) -> None:
        self.depot = Depot(folder / "stick")
        self.places = make_host(folder / "host", (keys / "1.root.json").read_bytes(), built=int(time.time()) - DAY)

    def take(self, result: Result, *manifests: Manifest) -> Trusted:
        for manifest in manifests:
            self.depot.put(manifest.encode())
        for name, data in metadata(result).items():
            (self.depot.metadata / name).write_bytes(data)
        return open_depot(Folder(str(self.depot.path)), self.places, time.time)


@pytest.fixture(name="keys")
def keys_fixture(tmp_path: Path) -> Path:
    return make(tmp_path / "keys")


def test_a_host_trusts_what_was_signed(keys: Path, tmp_path: Path) -> None:
    manifest = release()
    signed = sign(keys, manifest)
    assert signed["changed"]
    name = target_name("demo", 1)
    assert signed["targets"] == {name: [digest(manifest.encode()), len(manifest.encode())]}
    stick = Stick(tmp_path, keys)
    trusted = stick.take(signed, manifest)
    assert read_release(stick.depot.source, trusted, "demo", 1) == manifest


def test_metadata_comes_in_the_order_in_which_it_must_be_written(keys: Path) -> None:
    assert list(sign(keys, release())["metadata"]) == [
        "1.root.json",
        "1.targets.json",
        "1.snapshot.json",
        "timestamp.json",
    ]


def test_what_was_published_is_kept_and_told_again(keys: Path) -> None:
    signed = sign(keys, release())
    kept = files(keys / "published")
    assert {name: data for name, data in kept.items() if "/" not in name} == metadata(signed)
    assert kept["releases/demo.json"] == release().encode()
    known = sign(keys, state="known")
    assert {**known, "changed": True, "warnings": []} == signed
    assert base64.b64decode(known["manifests"]["demo"]) == release().encode()


def test_two_sticks_get_the_same_metadata(keys: Path) -> None:
    first = sign(keys, release())
    second = sign(keys, release())
    assert (second["changed"], second["metadata"]) == (False, first["metadata"])


def test_an_old_stick_gets_the_newest(keys: Path, tmp_path: Path) -> None:
    old, new = release(1), release(2)
    stick = Stick(tmp_path, keys)
    stick.take(sign(keys, old), old)
    sign(keys, new)
    again = sign(keys)  # nothing is new since, and the stick has missed it
    assert not again["changed"]
    assert stick.take(again, new).releases() == {"demo": [1, 2]}


def test_check_mode_signs_nothing_and_says_that_it_would(keys: Path) -> None:
    sign(keys, release())
    before = files(keys)
    told = sign(keys, release(2), check_mode=True)
    assert (told["changed"], files(keys)) == (True, before)
    assert list(told["targets"]) == [target_name("demo", 1)]


@pytest.mark.parametrize(("keep", "counters"), [(1, [4]), (2, [3, 4]), (9, [1, 2, 3, 4])])
def test_so_many_releases_of_a_stack_stay_named(keys: Path, keep: int, counters: list[int]) -> None:
    sign(keys, release(7, "other"))
    for counter in (1, 2, 3):
        sign(keys, release(counter), keep=9)
    signed = sign(keys, release(4), keep=keep)
    assert set(signed["targets"]) == {*(target_name("demo", one) for one in counters), target_name("other", 7)}
    assert set(signed["manifests"]) == {"demo", "other"}


def test_metadata_lasts_as_long_as_asked(keys: Path) -> None:
    signed = metadata(sign(keys, release(), expiry_days={"timestamp": 400, "snapshot": 200}))
    for role, days in (("timestamp", 400), ("1.snapshot", 200), ("1.targets", 365)):
        expires = json.loads(signed[f"{role}.json"])["signed"]["expires"]
        left = time.mktime(time.strptime(expires, "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())
        assert abs(left / DAY - days) < 1


def test_a_refresh_renews_what_hosts_would_call_expired(keys: Path) -> None:
    sign(keys, release())
    assert not sign(keys)["changed"]
    renewed = sign(keys, refresh=True)
    assert renewed["changed"]
    assert list(renewed["metadata"]) == ["1.root.json", "1.targets.json", "2.snapshot.json", "timestamp.json"]
    assert set(files(keys / "published")) == {*renewed["metadata"], "releases/demo.json"}


def test_what_a_run_that_was_cut_off_has_left_was_never_published(keys: Path) -> None:
    sign(keys, release(1))
    before = sign(keys, state="known")
    (keys / "published" / "2.targets.json").write_bytes(b"cut off")
    (keys / "published" / "2.snapshot.json").write_bytes(b"cut off")
    (keys / "published" / "releases" / "demo.json").write_bytes(release(2).encode())
    known = sign(keys, state="known")
    assert (known["metadata"], known["targets"], known["manifests"]) == (before["metadata"], before["targets"], {})
    signed = sign(keys, release(2))
    assert set(signed["targets"]) == {target_name("demo", 1), target_name("demo", 2)}
    assert b"cut off" not in metadata(signed).values()


WRONG: list[t.Any] = [
    pytest.param({"manifest": "no base64!"}, "invalid", "depot_write", id="no base64"),
    pytest.param({"manifest": base64.b64encode(b"{}").decode()}, "manifest_invalid", "schema", id="no manifest"),
    pytest.param({"keep": 0}, "invalid", "keep: 0", id="none to keep"),
    pytest.param({"expiry_days": {"timestamp": 0}}, "invalid", "timestamp", id="no day"),
    pytest.param({"expiry_days": {"root": 9}}, "invalid", "root", id="a role that is not signed here"),
    pytest.param({"expiry_days": {"targets": "soon"}}, "invalid", "soon", id="no number"),
]


@pytest.mark.parametrize(("arguments", "reason", "word"), WRONG)
def test_wrong_input_signs_nothing(keys: Path, arguments: Result, reason: str, word: str) -> None:
    before = files(keys)
    refused = act(ActionModule, {"keys": str(keys), **arguments})
    assert (refused["failed"], refused["reason"]) == (True, reason)
    assert word in refused["msg"]
    assert files(keys) == before


def test_a_folder_without_keys_is_refused_and_told_how_they_are_made(tmp_path: Path) -> None:
    refused = sign(tmp_path / "nothing", release())
    assert (refused["failed"], refused["reason"]) == (True, "key_missing")
    assert "playbooks/keys.yml" in refused["msg"]


@pytest.mark.parametrize("name", ["timestamp.json", "1.targets.json"])
def test_what_was_published_and_is_damaged_is_not_built_upon(keys: Path, name: str) -> None:
    sign(keys, release())
    path = keys / "published" / name
    path.write_bytes(re.sub(rb'"version": ?1', b'"version":7', path.read_bytes()))
    refused = sign(keys, release(2))
    assert (refused["failed"], refused["reason"]) == (True, "unsigned" if name == "timestamp.json" else "mixed")


def test_a_folder_of_keys_that_lost_what_was_published_gets_it_back_from_a_stick(keys: Path, tmp_path: Path) -> None:
    old, new = release(1), release(2)
    stick = Stick(tmp_path, keys)
    stick.take(sign(keys, old), old)
    for path in sorted((keys / "published").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    sign(keys, new)  # as if nothing had been published; depot_write refuses to write that over the stick
    for path in stick.depot.metadata.glob("*.json"):
        (keys / "published" / path.name).write_bytes(path.read_bytes())
    signed = sign(keys, new)
    assert stick.take(signed, new).releases() == {"demo": [1, 2]}


TARGETS = {f"targets-{number}": f"s3cret-t{number}" for number in range(1, 4)}


@pytest.mark.parametrize("how", ["passphrase", "device"])
def test_a_key_that_was_lost_and_replaced_is_not_opened(tmp_path: Path, how: str) -> None:
    keys = make(tmp_path / "keys", passphrases={**SECRETS, **TARGETS})
    if how == "device":
        (keys / "targets-1.pem").unlink()
        (keys / "targets-1.uri").write_text("hsm:2\n")
    known = {name: secret for name, secret in TARGETS.items() if name != "targets-1"}
    make(keys, passphrases={**SECRETS, **known}, revoke="targets-1")
    assert sign(keys, release(), passphrases=known)["changed"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(("targets-1", "targets-3"), {"changed": True}, id="enough"),
        pytest.param(("targets-3",), {"reason": "passphrase", "key": "targets-1"}, id="too few"),
    ],
)
def test_as_many_passphrases_as_must_sign_are_enough(tmp_path: Path, given: tuple[str, ...], expected: Result) -> None:
    secrets = {**SECRETS, **TARGETS}
    keys = make(tmp_path / "keys", passphrases=secrets, counts={"targets": 3}, thresholds={"targets": 2})
    told = sign(keys, release(), passphrases={name: TARGETS[name] for name in given})
    assert expected.items() <= told.items()


@pytest.mark.parametrize("state", ["known", "signed"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_replaced_keys_signed_is_signed_anew_only_if_somebody_says_so(
    keys: Path, tmp_path: Path, state: str, check_mode: bool
) -> None:
    stick = Stick(tmp_path, keys)
    stick.take(sign(keys, release(1)), release(1))
    make(keys, revoke="targets-1")
    before = files(keys)
    refused = sign(keys, release(2), check_mode, state=state)
    assert (refused["failed"], refused["reason"]) == (True, "unsigned")
    assert "fleet_resign=true" in refused["msg"]
    assert files(keys) == before
    assert not sign(keys, state="known", resign=True).get("failed")
    assert stick.take(sign(keys, release(2), resign=True), release(2)).releases() == {"demo": [1, 2]}
    assert not sign(keys)["changed"]


def test_a_stick_that_a_thief_made_is_not_gone_on_from(keys: Path, tmp_path: Path) -> None:
    sign(keys, release(1))
    theirs = tmp_path / "theirs"
    shutil.copytree(keys, theirs)
    for counter in range(2, 9):
        sign(theirs, release(counter))
    for role in ("targets", "snapshot", "timestamp"):
        make(keys, rotate=role)
    shutil.rmtree(keys / "published")
    shutil.copytree(theirs / "published", keys / "published")
    assert sign(keys, release(2))["reason"] == "unsigned"


@pytest.mark.parametrize(
    "change", [{"rotate": "timestamp"}, {"rotate": "snapshot"}, {"rotate": "root"}, {"renew": True}]
)
def test_other_keys_that_are_replaced_need_nobody_to_look(keys: Path, tmp_path: Path, change: Result) -> None:
    stick = Stick(tmp_path, keys)
    stick.take(sign(keys, release(1)), release(1))
    make(keys, passphrases={f"root-{number}": f"s3cret-{number}" for number in range(1, 7)}, **change)
    signed = sign(keys)
    assert (signed["changed"], "2.root.json" in signed["metadata"]) == (True, True)
    assert stick.take(signed).releases() == {"demo": [1]}


def later(days: int) -> t.Any:
    """Let so many days pass for whoever signs."""
    return mock.patch.object(depot_sign, "time", mock.Mock(time=lambda: time.time() + days * DAY))


@pytest.mark.parametrize("state", ["known", "signed"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_once_the_root_has_expired_nothing_is_signed_until_it_is_renewed(
    keys: Path, state: str, check_mode: bool
) -> None:
    sign(keys, release(1))
    before = files(keys)
    with later(731):
        refused = sign(keys, release(2), check_mode, state=state)
        assert (refused["failed"], refused["reason"]) == (True, "expired")
        assert "fleet_renew=true" in refused["msg"]
        assert files(keys) == before
        make(keys, renew=True, expiry_days=1500)
        assert sign(keys, release(2))["changed"]


@pytest.mark.parametrize(
    ("days", "expiry", "warned"),
    [
        pytest.param(0, {}, False, id="a new root"),
        pytest.param(364, {}, False, id="a root that is good for as long"),
        pytest.param(366, {}, True, id="a root that ends before the targets"),
        pytest.param(366, {"targets": 300}, False, id="targets that end before it"),
        pytest.param(0, {"timestamp": 800}, True, id="a timestamp that is to be good for longer"),
    ],
)
def test_a_root_that_ends_before_what_is_signed_is_told(keys: Path, days: int, expiry: Result, warned: bool) -> None:
    with later(days):
        signed = sign(keys, release(), expiry_days=expiry)
        again = sign(keys, expiry_days=expiry)
    for told in (signed, again):
        assert ["Expired depot" in one for one in told["warnings"]] == ([True] if warned else [])
