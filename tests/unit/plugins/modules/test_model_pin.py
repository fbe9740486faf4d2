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

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_module import ModelModule
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import parse_wanted
from ansible_collections.emorobcare.fleet.plugins.modules import model_pin
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._model_manifest import parse_manifest
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._hub import COMMIT, Hub, Repo, fake_hub

Run = t.Callable[..., "dict[str, t.Any]"]
WEIGHTS, CONFIG = b"weights" * 1000, b'{"layers": 12}'


@pytest.fixture(name="hub")
def hub_fixture(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Hub]:
    for name in ("http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    files = {".gitattributes": b"*", "config.json": CONFIG, "model.safetensors": WEIGHTS}
    with fake_hub({"org/model": Repo(files, frozenset({"model.safetensors"}), token="s3cret")}) as hub:
        yield hub


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module as Ansible would; return its JSON, with its warnings."""
    warnings: list[str] = []
    # In a process that has loaded parts of the controller, as other tests do, they would not be in the result.
    monkeypatch.setattr(ModelModule, "warn", lambda _self, text: warnings.append(text))

    def run(**args: t.Any) -> dict[str, t.Any]:
        warnings.clear()
        with (
            patch_module_args({"name": "speech", "version": "1", "retries": 0, **args}),
            pytest.raises(SystemExit),
        ):
            model_pin.main()
        result = t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))
        return {**result, "warnings": list(warnings)} if warnings else result

    return run


def test_a_model_on_a_hub_is_pinned_as_model_pull_takes_it(run: Run, hub: Hub) -> None:
    result = run(hub="org/model", hub_url=hub.web.url, hub_token="s3cret")
    assert result["model"] == {
        "name": "speech",
        "version": "1",
        "files": [
            {
                "path": path,
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "source": f"hf://org/model@{COMMIT}/{path}",
            }
            for path, content in (("config.json", CONFIG), ("model.safetensors", WEIGHTS))
        ],
    }
    assert yaml.safe_load(result["yaml"]) == {"models": [result["model"]]}
    assert parse_wanted({**result["model"], "state": "present"}).title == "model speech version 1"
    assert result["files"] == [
        {"path": "config.json", "digest_from": "computed"},
        {"path": "model.safetensors", "digest_from": "announced"},
    ]
    assert (result["changed"], result["commits"], result["bytes_read"]) == (False, {"org/model": COMMIT}, len(CONFIG))


def test_the_token_of_the_environment_serves(run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    assert "failed" not in run(hub="org/model", hub_url=hub.web.url)


def test_a_file_of_pins_is_written_once_and_predicted(run: Run, hub: Hub, tmp_path: Path) -> None:
    dest = tmp_path / "pins.yml"
    args = {"hub": "org/model", "hub_url": hub.web.url, "hub_token": "s3cret", "dest": str(dest)}
    predicted = run(**args, _ansible_check_mode=True)
    assert not dest.exists()
    done = run(**args)
    assert yaml.safe_load(dest.read_text()) == [done["model"]]
    assert parse_manifest("pins.yml", dest.read_bytes()).data == [done["model"]]
    assert (predicted["changed"], predicted["diff"]) == (done["changed"], done["diff"])
    assert done["diff"]["after"] == dest.read_text()
    before = dest.stat()
    again = run(**args)
    assert not again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"]
    assert dest.stat().st_ino == before.st_ino


def test_patterns_choose_the_files(run: Run, hub: Hub) -> None:
    args = {"hub": "org/model", "hub_url": hub.web.url, "hub_token": "s3cret"}
    assert [file["path"] for file in run(**args, include="*.json,.git*")["files"]] == ["config.json"]
    assert "matches no file" in run(**args, include=["*.gguf"])["msg"]


def test_a_file_with_several_sources_is_pinned_with_a_warning_for_the_missing_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(WEIGHTS)
    sources = [f"file://{tmp_path}/m", "depot:///media/stick!/v1!/m"]
    result = run(files=[{"path": "m.bin", "sources": sources}])
    assert result["model"]["files"][0]["sources"] == sources
    assert "could not be checked: depot:///media/stick!/v1!/m" in json.dumps(result["warnings"])


@pytest.mark.parametrize(
    ("args", "reason", "says"),
    [
        ({}, None, "one of the following is required: hub, sources, files"),
        ({"files": [{"path": "m"}]}, None, "one of the following is required: source, sources"),
        ({"sources": ["s3://bucket/m"]}, "invalid", "no scheme that is known"),
        ({"sources": ["file:///nonexistent/m"]}, "unavailable", "cannot be read"),
        ({"sources": ["file:///etc/hostname"], "name": "../x"}, "invalid", "name '../x'"),
        (
            {"hub": "org/model", "hub_url": "http://127.0.0.1:1", "connect_timeout": 1},
            "unavailable",
            "hf://org/model@main",
        ),
        ({"sources": ["file:///etc/hostname"], "dest": "/nonexistent/pins.yml"}, "io_error", "dest '/nonexistent"),
        ({"sources": ["https://h/m"], "registry_username": "me"}, None, "registry_password"),
    ],
)
def test_a_refusal_has_a_reason(run: Run, args: dict[str, t.Any], reason: str | None, says: str) -> None:
    result = run(**args)
    assert (result["failed"], result.get("reason")) == (True, reason)
    assert says in result["msg"]


def test_a_repository_that_wants_a_token_says_so(run: Run, hub: Hub) -> None:
    result = run(hub="org/model", hub_url=hub.web.url)
    assert (result["reason"], result["status"]) == ("unavailable", 401)
    assert "give hub_token" in result["msg"]


def test_credentials_reach_neither_the_result_nor_the_hosts_log(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []

    def note(_module: AnsibleModule, msg: str, log_args: dict[str, t.Any] | None = None) -> None:
        logged.append(f"{msg} {log_args}")

    monkeypatch.setattr(AnsibleModule, "log", note)
    source = "https://me:hunter2@127.0.0.1:1/m?t=s3cret"
    result = run(
        sources=[source],
        files=[{"path": "m", "sources": [source]}],
        proxy="http://me:hunter2@127.0.0.1:1",
        hub_token="t0ken123",
        registry_username="me",
        registry_password="passw0rd",
        _ansible_inject_invocation=True,
    )
    assert result["failed"]
    args = result["invocation"]["module_args"]
    shown = "https://***@127.0.0.1:1/m?t=***"
    assert (args["sources"], args["files"][0]["sources"]) == ([shown], [shown])
    everything = json.dumps(result) + "".join(logged)
    assert not [secret for secret in ("hunter2", "s3cret", "t0ken123", "passw0rd") if secret in everything]


def test_what_is_hidden_of_a_source_is_told(run: Run, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"m")
    result = run(files=[{"path": "m", "sources": [f"file://{tmp_path}/m", f"{hub.web.url}/m?token=hunter2"]}])
    assert "hunter2" not in json.dumps(result)
    assert "shown without its credentials" in json.dumps(result["warnings"])
    assert result["model"]["files"][0]["sources"][1].endswith("/m?token=***")
