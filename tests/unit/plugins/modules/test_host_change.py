# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.doc_fragments._probes import ModuleDocFragment
from ansible_collections.emorobcare.fleet.plugins.module_utils import _host_change_boot
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_run import transact
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import Probe, Probes
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_container import Asked
from ansible_collections.emorobcare.fleet.plugins.modules import host_change

Result = dict[str, t.Any]
Run = t.Callable[..., Result]


@pytest.fixture(name="probed")
def probed_fixture(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What was asked; containers can do all of it."""
    asked: list[Asked] = []

    def asking(one: Asked) -> t.Callable[[], Probes]:
        def ask() -> Probes:
            asked.append(one)
            return {"dns": Probe("pass", "it resolves")}

        return ask

    monkeypatch.setattr(host_change, "asking", asking)
    return asked


@pytest.fixture(name="run")
def run_fixture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probed: list[Asked]
) -> Run:
    """Run the module as Ansible would, without a guard; return its JSON."""
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(_host_change_boot, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(_host_change_boot, "BOOTED", str(tmp_path / "no-systemd"))
    monkeypatch.setattr(host_change, "transact", functools.partial(transact, guard=lambda places: None))

    def run(**args: t.Any) -> Result:
        with patch_module_args({"name": "demo", "folder": str(tmp_path / "host"), **args}), pytest.raises(SystemExit):
            host_change.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


def spec_of(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """The argument spec that documented options stand for."""
    found = {}
    for name, option in options.items():
        known = {key: option[key] for key in ("type", "elements", "choices", "default", "required") if key in option}
        found[name] = {**known, **({"options": spec_of(option["suboptions"])} if "suboptions" in option else {})}
    return found


def plain(spec: dict[str, t.Any]) -> dict[str, t.Any]:
    """A spec without what documentation does not say."""
    kept = {
        name: {key: value for key, value in one.items() if key not in ("no_log", "apply_defaults")}
        for name, one in spec.items()
    }
    return {
        name: {**one, **({"options": plain(one["options"])} if "options" in one else {})} for name, one in kept.items()
    }


def test_documentation_and_arguments_agree() -> None:
    documents = (host_change.DOCUMENTATION, ModuleDocFragment.DOCUMENTATION)
    options = {name: one for text in documents for name, one in yaml.safe_load(text)["options"].items()}
    assert plain(host_change.ARGUMENT_SPEC) == spec_of(options)


def test_each_reason_is_documented() -> None:
    description = yaml.safe_load(host_change.RETURN)["reason"]["description"]
    for reason in ("invalid", "locked", "unconfirmed", "same_connection", "probe_failed", "record_newer"):
        assert f"V({reason})" in description


def test_a_change_is_made_probed_confirmed_and_given_back(run: Run, tmp_path: Path, probed: list[Asked]) -> None:
    file = tmp_path / "demo.conf"
    files = [{"path": str(file), "content": "new\n", "mode": "0600"}]
    result = run(files=files, probes={"dns": "example.com"}, activate=[["touch", str(tmp_path / "done")]], confirm=60)
    assert (result["changed"], result["files"], result["waits"]) == (True, [str(file)], 60)
    assert result["probes"]["before"] == {"dns": {"status": "pass", "detail": "it resolves"}}
    assert [one.dns for one in probed] == ["example.com", "example.com"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert run(state="confirmed")["changed"]
    assert not run(files=files, activate=[["false"]])["changed"]
    assert run(state="absent", activate=[["true"]])["files"] == [str(file)]
    assert not file.exists()


def test_without_a_probe_nothing_is_asked(run: Run, tmp_path: Path, probed: list[Asked]) -> None:
    result = run(files=[{"path": str(tmp_path / "demo"), "content": "new\n"}], probe=False)
    assert result["probes"] == {"before": None, "after": None}
    assert probed == []


def test_check_mode_shows_the_difference(run: Run, tmp_path: Path, probed: list[Asked]) -> None:
    result = run(files=[{"path": str(tmp_path / "demo"), "content": "new\n"}], _ansible_check_mode=True)
    assert (result["changed"], result["diff"][0]["after"]) == (True, "new\n")
    assert (probed, (tmp_path / "demo").exists(), (tmp_path / "host").exists()) == ([], False, False)


def test_a_hidden_content_is_nowhere_in_the_result(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.log", lambda self, msg, **more: logged.append(msg))
    shown = {"path": str(tmp_path / "shown"), "content": "plain text\n"}
    hidden = {"path": str(tmp_path / "hidden"), "content": "secret text\n", "diff": False}
    result = run(files=[shown, hidden])
    assert "secret text" not in json.dumps(result) + "".join(logged)
    assert "plain text\n" in [one["after"] for one in result["diff"]]
    assert (tmp_path / "hidden").read_text() == "secret text\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "files: name at least one"),
        ({"files": [{"path": "/x", "mode": "rw"}]}, "files[0].mode: 'rw' is no file mode"),
        ({"files": [{"path": "/x", "mode": True}]}, "files[0].mode: True is no file mode"),
        ({"files": [{"path": "/x", "content": "y"}], "probes": {"outbound": "x"}}, "outbound: 'x' is no host:port"),
        ({"state": "confirmed", "name": "no name"}, "name: 'no name' cannot name a change"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(run: Run, args: dict[str, t.Any], message: str) -> None:
    result = run(**args)
    assert (result["failed"], result["reason"], result["reverted"]) == (True, "invalid", False)
    assert result["msg"].startswith(message)


@pytest.mark.parametrize(("mode", "number"), [(None, None), ("0644", 0o644), ("644", 0o644), (420, 0o644)])
def test_a_mode_is_octal_text_or_what_yaml_made_of_it(mode: t.Any, number: int | None) -> None:
    assert host_change.read_mode(mode, "files[0]") == number


def test_a_change_that_is_taken_back_says_so_in_the_result(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "demo.conf"
    result = run(
        files=[{"path": str(file), "content": "new\n"}], activate=[["false"]], deactivate=[["true"]], probe=False
    )
    assert (result["failed"], result["reason"], result["reverted"]) == (True, "activate_failed", True)
    assert result["files"] == [str(file)]
    assert not file.exists()


def test_what_was_taken_back_behind_everybody_is_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, text: warned.append(text))
    file = tmp_path / "demo.conf"
    file.write_text("old\n")
    files = [{"path": str(file), "content": "new\n"}]
    run(files=files, probe=False)
    file.write_text("edited\n")
    result = run(state="absent", probe=False)
    assert result["kept"] == [{"path": str(file), "why": "somebody has changed its content since"}]
    assert any("is not given back" in warning for warning in warned)


def test_an_error_without_details_has_them_all_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: t.Any, **_more: t.Any) -> t.NoReturn:
        raise HostError("it is busy", reason="locked")

    monkeypatch.setattr(host_change, "transact", refuse)
    result = run(files=[{"path": "/x", "content": "y"}])
    assert (result["reason"], result["reverted"]) == ("locked", False)
