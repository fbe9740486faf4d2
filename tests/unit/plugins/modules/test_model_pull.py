# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_look
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_module import ModelModule
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Action, Use
from ansible_collections.emorobcare.fleet.plugins.modules import model_pull

Run = t.Callable[..., "dict[str, t.Any]"]


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the module as Ansible would; return its JSON."""

    def run(**args: t.Any) -> dict[str, t.Any]:
        defaults = {"name": "speech", "version": "1", "root": str(tmp_path / "root")}
        with patch_module_args({**defaults, **args}), pytest.raises(SystemExit):
            model_pull.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path) -> dict[str, t.Any]:
    content = b"weights"
    (tmp_path / "source").write_bytes(content)
    return {
        "path": "m.bin",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "source": f"file://{tmp_path}/source",
    }


def test_the_result_says_what_was_done_file_by_file(run: Run, file: dict[str, t.Any], tmp_path: Path) -> None:
    result = run(files=[file, {**file, "path": "copy.bin"}])
    names = ("changed", "action", "path", "bytes_to_fetch", "bytes_fetched", "repaired", "tools_missing")
    assert {name: result[name] for name in names} == {
        "changed": True,
        "action": "publish",
        "tools_missing": [],
        "path": f"{tmp_path}/root/models/speech/1",
        "bytes_to_fetch": 7,
        "bytes_fetched": 7,
        "repaired": [],
    }
    told = {**file, "bytes_resumed": 0, "available": True}
    assert result["files"] == [
        {**told, "bytes_to_fetch": 7, "fetched": True, "served_by": file["source"]},
        {**told, "path": "copy.bin", "bytes_to_fetch": 0, "fetched": False, "served_by": ""},
    ]
    for name, nothing in (("bytes_resumed", 0), ("corrupt", []), ("unavailable", []), ("removed", [])):
        assert result[name] == nothing


def test_check_mode_predicts_what_the_run_then_does(run: Run, file: dict[str, t.Any], tmp_path: Path) -> None:
    predicted = run(files=[file], _ansible_check_mode=True)
    assert not (tmp_path / "root").exists()
    assert (predicted["bytes_fetched"], predicted["files"][0]["fetched"]) == (0, False)
    done = run(files=[file])
    for same in ("changed", "diff", "path", "bytes_to_fetch"):
        assert predicted[same] == done[same]
    assert done["diff"]["before"]["files"] == {"m.bin": "absent; 7 bytes to fetch"}


def test_a_second_run_is_quiet(run: Run, file: dict[str, t.Any]) -> None:
    run(files=[file])
    result = run(files=[file])
    assert not result["changed"]
    assert result["diff"]["before"] == result["diff"]["after"]
    assert (result["bytes_to_fetch"], result["bytes_read"], result["files"][0]["fetched"]) == (0, 0, False)


def test_a_repair_is_said(run: Run, file: dict[str, t.Any]) -> None:
    published = Path(run(files=[file])["path"], "m.bin")
    published.chmod(0o644)
    published.write_bytes(b"Weights")
    result = run(files=[file])
    assert result["repaired"] == [{"path": "m.bin", "reason": "content had changed"}]
    assert published.read_bytes() == b"weights"


def test_absence_says_what_was_freed(run: Run, file: dict[str, t.Any], tmp_path: Path) -> None:
    run(files=[file])
    result = run(state="absent")
    assert (result["changed"], result["bytes_freed"], result["files"]) == (True, 7, [])
    assert not (tmp_path / "root" / "models" / "speech").exists()
    assert not run(state="absent")["changed"]


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"path": "../m.bin"}, "invalid", "climbs out"),
        ({"path": "/m.bin"}, "invalid", "is absolute"),
        ({"sha256": "abc"}, "invalid", "64 lower-case hex digits"),
        ({"source": "s3://bucket/m.bin"}, "invalid", "no scheme that is known"),
        ({"source": "file:///nonexistent/m.bin"}, "unavailable", "cannot be read"),
        ({"size": 8}, "size_mismatch", "size 8 is pinned"),
        ({"size": 1 << 60, "source": "https://h/m.bin"}, "no_space", "not enough space"),
    ],
)
def test_a_refusal_has_a_reason_and_writes_nothing_in_check_mode_and_out_of_it(
    run: Run, file: dict[str, t.Any], tmp_path: Path, change: dict[str, t.Any], reason: str, says: str, check_mode: bool
) -> None:
    result = run(files=[{**file, **change}], _ansible_check_mode=check_mode)
    assert (result["failed"], result["reason"]) == (True, reason)
    assert says in result["msg"]
    assert not (tmp_path / "root").exists()


def test_presence_needs_files(run: Run) -> None:
    assert "files" in run()["msg"]


@pytest.mark.parametrize("source", ["https://me:hunter2@127.0.0.1:1/m?t=s3cret", "s3://me:hunter2@h/m?t=s3cret"])
@pytest.mark.parametrize("how", ["source", "sources", "proxy"])
def test_credentials_reach_neither_the_result_nor_the_hosts_log(
    run: Run, file: dict[str, t.Any], source: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []

    def note(_module: AnsibleModule, msg: str, log_args: dict[str, t.Any] | None = None) -> None:
        logged.append(f"{msg} {log_args}")

    monkeypatch.setattr(AnsibleModule, "log", note)
    options: dict[str, t.Any] = {"files": [{**file, "source": source}]}
    if how == "sources":
        del file["source"]
        options["files"] = [{**file, "sources": [source, source.replace("/m", "/n")]}]
    if how == "proxy":
        options = {"files": [{**file, "source": "https://127.0.0.1:1/m"}], "proxy": source}
    result = run(**options, retries=0, _ansible_inject_invocation=True)
    shown = source.replace("me:hunter2", "***").replace("s3cret", "***")
    assert result["failed"]
    assert shown in (json.dumps(result["invocation"]) if how == "proxy" else result["msg"])
    if how == "source":
        assert result["invocation"]["module_args"]["files"][0]["source"] == shown
    assert shown in logged[0]
    assert not [secret for secret in ("hunter2", "s3cret") if secret in json.dumps(result) + "".join(logged)]


def test_options_that_fail_validation_show_no_credentials(run: Run) -> None:
    files = [{"path": "m.bin", "source": "https://me:hunter2@h/m?t=s3cret"}, "https://me:hunter2@h/"]
    result = run(files=files, _ansible_inject_invocation=True)
    assert result["failed"]
    assert result["invocation"]["module_args"]["files"][0]["source"] == "https://***@h/m?t=***"
    assert not [secret for secret in ("hunter2", "s3cret") if secret in json.dumps(result)]


def test_the_next_source_serves_what_the_first_one_does_not(run: Run, file: dict[str, t.Any], tmp_path: Path) -> None:
    sources = [f"file://{tmp_path}/gone", file.pop("source")]
    result = run(files=[{**file, "sources": sources}])
    assert (result["files"][0]["source"], result["files"][0]["served_by"]) == (sources[0], sources[1])


def test_an_optional_file_that_no_source_has_is_warned_of(
    run: Run, file: dict[str, t.Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    # In a process that has loaded parts of the controller, as other tests do, they would not be in the result.
    monkeypatch.setattr(ModelModule, "warn", lambda _self, text: warnings.append(text))
    lost = {**file, "path": "lost", "sha256": "e" * 64, "source": f"file://{tmp_path}/gone", "required": False}
    result = run(files=[file, lost])
    assert (result["unavailable"], [one["available"] for one in result["files"]]) == (["lost"], [True, False])
    (warning,) = warnings
    assert "model speech version 1 is published without a file that is not required" in warning
    assert f"{tmp_path}/gone" in warning


def test_a_verified_version_says_what_was_read_again(run: Run, file: dict[str, t.Any]) -> None:
    run(files=[file])
    result = run(files=[file], state="verified")
    assert (result["changed"], result["bytes_read"], result["corrupt"]) == (False, 7, [])


def test_versions_that_are_not_kept_are_told_with_the_diff(run: Run, file: dict[str, t.Any]) -> None:
    for version in ("1", "2"):
        run(files=[file], version=version)
    predicted = run(files=[file], version="3", keep=1, _ansible_check_mode=True)
    result = run(files=[file], version="3", keep=1)
    for each in (predicted, result):
        assert (each["changed"], sorted(each["removed"])) == (True, ["1", "2"])
        assert sorted(each["diff"]["before"]["versions_to_remove"]) == ["1", "2"]
        assert each["diff"]["after"]["versions_to_remove"] == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"concurrency": 0}, "concurrency must be 1"),
        ({"connect_timeout": 0}, "connect_timeout must be more than 0"),
        ({"stall_timeout": -1}, "stall_timeout must be more than 0"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"retry_delay": -0.5}, "retry_delay must be 0 or more"),
        ({"keep": -1}, "keep must be 0"),
        ({"bandwidth_limit": "fast"}, "bandwidth_limit: size must be"),
        ({"bandwidth_limit": "-5"}, "bandwidth_limit must be 0"),
        ({"root": "/"}, "root '/' must be an absolute path"),
    ],
)
def test_options_out_of_their_range_are_refused(
    run: Run, file: dict[str, t.Any], options: dict[str, t.Any], says: str
) -> None:
    result = run(files=[file], **options)
    assert (result["failed"], result["reason"]) == (True, "invalid")
    assert says in result["msg"]


@pytest.mark.parametrize(
    ("text", "limit"), [("", 0), (" ", 0), ("0", 0), ("5000", 5000), ("10MB", 10_000_000), (" 1.5 MiB ", 1_572_864)]
)
def test_a_bandwidth_limit_is_bytes_a_second_with_a_unit_or_without(text: str, limit: int) -> None:
    with patch_module_args({"name": "speech", "version": "1", "state": "absent", "bandwidth_limit": text}):
        module = AnsibleModule(model_pull.ARGUMENT_SPEC)
    assert model_pull.settings_of(module.params).bandwidth_limit == limit


def test_who_gives_one_source_and_several_is_refused(run: Run, file: dict[str, t.Any]) -> None:
    result = run(files=[{**file, "sources": [file["source"]]}])
    assert "mutually exclusive" in result["msg"]


def test_a_release_that_uses_the_version_is_named(
    run: Run, file: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(files=[file])
    monkeypatch.setattr(_model_look, "uses", lambda _root: {("speech", "1"): [Use("shop", "a" * 64)]})
    result = run(state="absent")
    assert (result["reason"], result["stacks"]) == ("in_use", ["shop"])
    assert result["uses"] == [{"stack": "shop", "release": "a" * 64}]


def test_the_documentation_lists_every_reason_and_action() -> None:
    documented = yaml.safe_load(model_pull.RETURN)
    assert documented["reason"]["choices"] == list(t.get_args(Reason))
    assert documented["action"]["choices"] == list(t.get_args(Action))
