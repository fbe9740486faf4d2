# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import json
import random
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_write
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder, check_layout
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import parse_index
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_medium import Medium
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import parse_manifest
from ansible_collections.emorobcare.fleet.plugins.modules import depot_write
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import (
    CREATED,
    MODELS,
    Builder,
    base64_of,
    document,
    encoded,
    sha256,
    signed,
    stored,
)


@pytest.fixture(name="builder")
def builder_fixture(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


def described(options_: dict[str, t.Any]) -> dict[str, t.Any]:
    keys = ("type", "elements", "default", "choices", "required")
    return {name: {key: item[key] for key in keys if key in item} for name, item in options_.items()}


def test_the_documentation_says_what_the_options_are() -> None:
    assert described(yaml.safe_load(depot_write.DOCUMENTATION)["options"]) == depot_write.ARGUMENT_SPEC


def test_every_result_is_documented(builder: Builder) -> None:
    written = builder.content()
    published = builder.publish(1, written["target"])
    documented = set(yaml.safe_load(depot_write.RETURN)) | {"changed", "diff", "invocation"}
    assert {*written, *published} - documented == set()


def test_what_was_written_and_published_is_a_depot_with_all_that_its_manifest_names(builder: Builder) -> None:
    written = builder.content(hardware=["rover"])
    assert written["changed"]
    assert not (builder.depot / "metadata" / "timestamp.json").exists()
    published = builder.publish(1, written["target"])
    assert published["releases"] == ["releases/demo/1.json"]
    source = Folder(str(builder.depot))
    volume = check_layout(source)
    files = builder.files()
    data = files[f"blobs/sha256/{written['target']['sha256']}"]
    assert len(data) == written["target"]["length"]
    manifest = parse_manifest(data)
    assert (manifest.fleet, manifest.stack, manifest.counter, manifest.created) == ("lab", "demo", 1, CREATED)
    assert manifest.hardware == ("rover",)
    assert manifest.models[0].files == {path: sha256(content) for path, content in MODELS["voice"].items()}
    for one, size in manifest.blobs.items():
        assert len(files[f"blobs/sha256/{one}"]) == size
    blobs = {name.rpartition("/")[2] for name in files if name.startswith("blobs/")}
    assert volume.blobs == blobs
    assert all(hashlib.sha256(files[f"blobs/sha256/{one}"]).hexdigest() == one for one in blobs)
    index = parse_index(files["index.json"])
    assert set(index) == {"models/voice:1", "releases/demo:1"}
    assert all(len(files[f"blobs/sha256/{one}"]) == size for one, size in index.values())
    assert [name for name in files if name.startswith("partial/")] == []


def test_the_second_run_changes_nothing(builder: Builder) -> None:
    target = builder.content()["target"]
    builder.publish(1, target)
    before = {path: path.stat().st_mtime_ns for path in builder.depot.rglob("*") if path.is_file()}
    again = builder.content(created=CREATED + 60)
    assert (again["changed"], again["target"], again["bytes"], again["manifest"]["counter"]) == (False, None, 0, 1)
    assert not builder.publish(1, target)["changed"]
    assert {path: path.stat().st_mtime_ns for path in builder.depot.rglob("*") if path.is_file()} == before


def test_check_mode_writes_nothing_and_says_what_a_run_would(builder: Builder) -> None:
    told = builder.content(_ansible_check_mode=True)
    assert not builder.depot.exists()
    done = builder.content()
    for key in ("changed", "bytes", "blobs", "target", "manifest", "diff"):
        assert told[key] == done[key]
    assert told["written"] == 0
    files = builder.files()
    told = builder.publish(1, done["target"], _ansible_check_mode=True)
    assert builder.files() == files
    assert told["files"] == builder.publish(1, done["target"])["files"]


def test_a_release_gets_the_number_after_the_highest_signed_one(builder: Builder) -> None:
    told = {f"releases/demo/{counter}.json": ["a" * 64, 5] for counter in (2, 10, 9)}
    told["releases/other/40.json"] = ["b" * 64, 5]
    assert builder.content(targets=told)["target"]["path"] == "releases/demo/11.json"


def test_what_the_signer_says_counts_more_than_what_the_depot_says(builder: Builder) -> None:
    builder.publish(1, builder.content()["target"])
    assert builder.content({})["target"]["path"] == "releases/demo/2.json"
    assert builder.content({}, targets={})["target"]["path"] == "releases/demo/1.json"


def test_the_same_release_at_the_same_time_is_the_same_on_another_stick(builder: Builder) -> None:
    target = builder.content()["target"]
    told = {target["path"]: [target["sha256"], target["length"]]}
    other = builder.content(targets=told, depot=f"{builder.depot}-2")
    assert (other["target"], other["manifest"]["counter"], other["changed"]) == (None, 1, True)
    assert Path(f"{builder.depot}-2", "blobs", "sha256", target["sha256"]).exists()


def test_a_signed_release_is_the_same_on_another_stick_at_any_time_when_the_signer_gives_it(builder: Builder) -> None:
    target = builder.content()["target"]
    told: dict[str, t.Any] = {
        "targets": {target["path"]: [target["sha256"], target["length"]]},
        "manifests": {"demo": target["manifest"]},
        "depot": f"{builder.depot}-2",
        "created": CREATED + 99,
    }
    other = builder.content(**told)
    assert (other["target"], other["manifest"]["counter"], other["manifest"]["created"]) == (None, 1, CREATED)
    assert Path(f"{builder.depot}-2", "blobs", "sha256", target["sha256"]).exists()
    assert not builder.content(**told)["changed"]
    told["manifests"] = {"demo": base64.b64encode(b"of another release").decode()}
    assert not builder.content(**told)["changed"], "what is not the signed one does not count"


def test_what_is_to_be_signed_comes_with_the_result(builder: Builder) -> None:
    target = builder.content()["target"]
    data = base64.b64decode(target["manifest"])
    assert (sha256(data), len(data)) == (target["sha256"], target["length"])
    assert parse_manifest(data).counter == 1


def test_a_new_release_writes_only_what_is_new_and_the_old_one_stays_until_it_is_pruned(builder: Builder) -> None:
    builder.publish(1, first := builder.content()["target"])
    changed = {"voice": {**MODELS["voice"], "vocab.txt": b"d e f"}}
    stored(builder.root, changed)
    second = builder.content(changed)
    assert second["bytes"] < 10_000
    assert second["diff"]["before"]["release"]["counter"] == 1
    kept = builder.publish(2, first, second["target"], prune=True)
    assert kept["pruned"] == []
    blobs = {name for name in builder.files() if name.startswith("blobs/")}
    dropped = builder.publish(3, second["target"], prune=True)
    assert set(dropped["pruned"]) >= {first["sha256"], sha256(b"a b c")}
    gone = blobs - {name for name in builder.files() if name.startswith("blobs/")}
    assert gone == {f"blobs/sha256/{one}" for one in dropped["pruned"]}
    assert not builder.content(changed)["changed"]
    assert not builder.publish(3, second["target"], prune=True)["changed"]


def test_only_the_newest_metadata_stays_and_every_root(builder: Builder) -> None:
    target = builder.content()["target"]
    builder.publish(1, target)
    builder.publish(2, target)
    names = sorted(path.name for path in (builder.depot / "metadata").iterdir())
    assert names == ["1.root.json", "2.snapshot.json", "2.targets.json", "timestamp.json"]


def test_what_all_hosts_hold_is_left_out_and_said(builder: Builder) -> None:
    weights = sha256(MODELS["voice"]["weights.bin"])
    release = sha256(json.dumps(document(MODELS), sort_keys=True, separators=(",", ":")).encode())
    result = builder.content(held=[weights, release, "c" * 64])
    data = (builder.depot / "blobs" / "sha256" / result["target"]["sha256"]).read_bytes()
    manifest = parse_manifest(data)
    assert manifest.assumes == {weights}
    assert not (builder.depot / "blobs" / "sha256" / weights).exists()
    assert manifest.blobs[weights] == len(MODELS["voice"]["weights.bin"])
    builder.publish(1, result["target"])
    assert not builder.content(held=[weights])["changed"]


def test_what_a_host_lacks_now_is_written_although_the_release_is_there(builder: Builder) -> None:
    weights = sha256(MODELS["voice"]["weights.bin"])
    builder.publish(1, builder.content(held=[weights])["target"])
    result = builder.content()
    assert result["target"]["path"] == "releases/demo/2.json"
    assert (builder.depot / "blobs" / "sha256" / weights).exists()


def test_a_truncated_blob_is_written_again(builder: Builder) -> None:
    builder.publish(1, builder.content()["target"])
    weights = builder.depot / "blobs" / "sha256" / sha256(MODELS["voice"]["weights.bin"])
    weights.write_bytes(weights.read_bytes()[:1000])
    result = builder.content()
    assert (result["target"], result["blobs"]) == (None, 1)
    assert weights.read_bytes() == MODELS["voice"]["weights.bin"]


def test_a_blob_with_a_flipped_bit_is_found_and_written_again_when_asked_for(builder: Builder) -> None:
    builder.publish(1, builder.content()["target"])
    weights = builder.depot / "blobs" / "sha256" / sha256(MODELS["voice"]["weights.bin"])
    data = bytearray(weights.read_bytes())
    data[4711] ^= 1
    weights.write_bytes(data)
    assert not builder.content()["changed"]
    result = builder.content(verify_held=True)
    assert result["corrupt"] == [weights.name]
    assert weights.read_bytes() == MODELS["voice"]["weights.bin"]
    assert not builder.content(verify_held=True)["changed"]


def test_packages_and_runtime_come_by_their_paths(builder: Builder, tmp_path: Path) -> None:
    for name in ("apt/pool/a.deb", "apt/dists/Release", "run/wheels/x.whl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "apt" / "dists" / "InRelease").symlink_to("Release")
    result = builder.content(packages={"trixie": str(tmp_path / "apt")}, runtime=str(tmp_path / "run"))
    manifest = parse_manifest((builder.depot / "blobs" / "sha256" / result["target"]["sha256"]).read_bytes())
    assert manifest.packages == {
        "trixie": {
            "dists/InRelease": sha256(b"apt/dists/Release"),
            "dists/Release": sha256(b"apt/dists/Release"),
            "pool/a.deb": sha256(b"apt/pool/a.deb"),
        }
    }
    assert manifest.runtime == {"wheels/x.whl": sha256(b"run/wheels/x.whl")}


@pytest.mark.parametrize(
    ("args", "reason", "said"),
    [
        ({"id": "0" * 64}, "invalid", "was changed after it was made"),
        ({"held": ["X"]}, "invalid", "held: 'X'"),
        ({"volume": 2}, "invalid", "volume: 2 is not from 1 to 1"),
        ({"volumes": 2}, "invalid", "needs volume_size"),
        ({"part_size": "many"}, "invalid", "part_size: 'many'"),
        ({"part_size": "3GiB"}, "invalid", "part_size"),
        ({"prune": True}, "invalid", "state=published"),
        ({"targets": {"releases/demo/1.json": "x"}}, "invalid", "targets: releases/demo/1.json"),
        ({"manifests": {"demo": "?"}}, "invalid", "manifests: 'demo' is not base64"),
        ({"fleet": "Not A Name"}, "manifest_invalid", "fleet"),
        ({"root": "/nonexistent"}, "blob_missing", "model_pull"),
        ({"runtime": "/nonexistent"}, "invalid", "/nonexistent"),
        ({"depot": "/dev/null/depot"}, "unsafe_path", "/dev/null"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(
    args: dict[str, t.Any], reason: str, said: str, builder: Builder
) -> None:
    for check_mode in (True, False):
        result = builder.content(**args, _ansible_check_mode=check_mode)
        assert result["failed"], result
        assert result["reason"] == reason, result["msg"]
        assert said in result["msg"]
        assert builder.files() == {}


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"../timestamp.json": ""}, "is no name of TUF metadata"),
        ({"targets.json": ""}, "is no name of TUF metadata"),
        ({"timestamp.json": "?"}, "is not base64"),
        ({"1.targets.json": base64.b64encode(b"[]").decode()}, "no targets metadata"),
    ],
)
def test_strange_metadata_is_refused(metadata: dict[str, str], said: str, builder: Builder) -> None:
    builder.content()
    files = builder.files()
    result = builder.run(state="published", metadata=metadata)
    assert result["reason"] == "invalid"
    assert said in result["msg"]
    assert builder.files() == files


def test_metadata_is_not_published_before_the_content_is_there(builder: Builder) -> None:
    target = builder.content()["target"]
    (builder.depot / "blobs" / "sha256" / sha256(b"a b c")).unlink()
    assert builder.publish(1, target)["reason"] == "blob_missing"
    (builder.depot / "blobs" / "sha256" / target["sha256"]).unlink()
    result = builder.publish(1, target)
    assert result["reason"] == "blob_missing"
    assert "state: content" in result["msg"]
    assert not (builder.depot / "metadata" / "timestamp.json").exists()


def test_several_media_have_all_blobs_together_and_each_is_a_depot(builder: Builder) -> None:
    models = {"voice": {f"{number}.bin": random.Random(number).randbytes(700_000) for number in range(5)}}
    stored(builder.root, models)
    media = [{"depot": f"{builder.depot}{number}", "volume": number, "volumes": 3} for number in (1, 2, 3)]
    results = [builder.content(models, volume_size="5MB", **medium) for medium in media]
    assert {result["volumes"] for result in results} == {2}
    assert len({result["target"]["sha256"] for result in results}) == 1
    target = results[0]["target"]
    blobs = []
    for medium in media:
        builder.publish(1, target, **medium)
        volume = check_layout(Folder(str(medium["depot"])))
        assert (volume.number, volume.count) == (medium["volume"], 3)
        assert target["sha256"] in volume.blobs
        blobs.append(volume.blobs)
    manifest = parse_manifest(Path(str(media[0]["depot"]), "blobs", "sha256", target["sha256"]).read_bytes())
    assert frozenset().union(*blobs) >= set(manifest.blobs)
    content = {sha256(data) for data in models["voice"].values()}
    assert [len(one & content) for one in blobs] == [4, 1, 0]
    again = builder.content(models, volume_size="5MB", targets={target["path"]: [target["sha256"], target["length"]]})
    assert (again["target"], again["manifest"]["counter"]) == (None, 1)


def test_parts_have_the_size_that_was_asked_for(builder: Builder) -> None:
    models = {"voice": {"weights.bin": random.Random(3).randbytes((2 << 20) + 7)}}
    stored(builder.root, models)
    target = builder.content(models, part_size="1MiB")["target"]
    one = sha256(models["voice"]["weights.bin"])
    sizes = {path.name: path.stat().st_size for path in (builder.depot / "blobs" / "sha256").glob(f"{one}*")}
    assert sizes == {f"{one}.p0000": 1 << 20, f"{one}.p0001": 1 << 20, f"{one}.p0002": 7}
    assert b"".join(Folder(str(builder.depot)).pieces(one)) == models["voice"]["weights.bin"]
    builder.publish(1, target)
    assert not builder.content(models)["changed"]


def test_a_reference_that_no_engine_can_be_given_is_refused_before_anything_is_written(builder: Builder) -> None:
    refused = builder.content(images=["mongo:7", f"mongo:7@sha256:{'a' * 64}"])
    assert (refused["failed"], refused["reason"]) == (True, "invalid")
    assert "Write mongo:7 in the Compose file" in refused["msg"]
    assert not builder.depot.exists()


def test_metadata_that_is_older_than_the_depots_is_not_written_over_it(builder: Builder) -> None:
    target = builder.content()["target"]
    builder.publish(2, target)
    before = builder.files()
    for check_mode in (True, False):
        refused = builder.publish(1, target, _ansible_check_mode=check_mode)
        assert (refused["failed"], refused["reason"]) == (True, "older")
    assert builder.files() == before


def test_a_new_depot_on_the_systems_own_disk_is_refused_where_a_medium_is_wanted(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = Medium("/", "ext4", 1 << 40, 4096, None)
    monkeypatch.setattr(_depot_write, "look_at_medium", lambda _path: medium)
    refused = builder.content(own_medium=True)
    assert (refused["failed"], refused["reason"]) == (True, "invalid")
    assert not builder.depot.exists()
    assert builder.content()["changed"]
    assert not builder.content(own_medium=True).get("failed")


OURS = base64_of(signed(1)["1.root.json"])
OTHERS = {"1.root.json": b'{"signed": {"version": 1}, "fleet": "other"}', "2.root.json": b'{"signed": {"version": 2}}'}


@pytest.fixture(name="theirs")
def theirs_fixture(builder: Builder) -> Builder:
    """A builder whose stick is another fleet's, which was written more often than ours."""
    target = builder.content(MODELS)["target"]
    metadata = {**signed(7, target), **OTHERS}
    assert builder.run(state="published", metadata=encoded(metadata))["changed"]
    (builder.depot / "blobs" / "sha256" / sha256(b"theirs")).write_bytes(b"theirs")
    return builder


def test_another_fleets_stick_is_left_as_it_is(theirs: Builder) -> None:
    before = theirs.files()
    for check_mode in (True, False):
        content = theirs.content({}, first_root=OURS, targets={}, _ansible_check_mode=check_mode)
        published = theirs.publish(1, prune=True, _ansible_check_mode=check_mode)
        for refused in (content, published):
            assert (refused["failed"], refused["reason"]) == (True, "mixed")
            assert "depot_take_over=true" in refused["msg"]
    assert theirs.files() == before


def test_another_fleets_stick_is_taken_over_if_somebody_says_so(theirs: Builder) -> None:
    told = theirs.content(first_root=OURS, targets={}, take_over=True)
    assert theirs.publish(1, told["target"], take_over=True, _ansible_check_mode=True)["changed"]
    assert "metadata/2.root.json" in theirs.files()
    published = theirs.publish(1, told["target"], take_over=True, prune=True)
    assert (published["changed"], published["pruned"]) == (True, [sha256(b"theirs")])
    names = {name.removeprefix("metadata/") for name in theirs.files() if name.startswith("metadata/")}
    assert names == set(signed(1))
    assert theirs.release_of() == 1
    assert theirs.content(first_root=OURS)["changed"] is False
    assert theirs.publish(1, told["target"])["changed"] is False


def test_own_sticks_and_new_ones_are_written_without_a_word(builder: Builder) -> None:
    target = builder.content(first_root=OURS)["target"]
    assert builder.publish(1, target)["changed"]
    assert not builder.content(first_root=OURS).get("failed")
    assert builder.content(first_root="?")["reason"] == "invalid"
