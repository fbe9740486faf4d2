# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    Answer,
    DockerCli,
    Stream,
    checked,
    not_installed,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import Reason
from ansible_collections.emorobcare.fleet.plugins.modules import stack_release

Result = dict[str, t.Any]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Engine:
    """As much of Docker and Compose as the module talks to; a service's image says how its container fares."""

    def __init__(self) -> None:
        self.images = {"good:1": "id-good", "good:2": "id-new", "dies:1": "id-dies", "job:1": "id-job"}
        self.containers: dict[str, dict[str, t.Any]] = {}
        self.said: list[str] = []
        self.down = False

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        words = list(argv)
        if self.down:
            return checked(Answer(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock"))
        if words[1] == "compose":
            return self.compose(words)
        self.said.append(" ".join(words[1:3]))
        if words[1:3] == ["container", "ls"]:
            if words[-1].startswith("{{.ID}} "):
                return Answer(0, "".join(f"{name} shop\n" for name in self.containers), "")
            ours = not any("project=" in word for word in words) or words[-1].endswith("project=shop")
            return Answer(0, "\n".join(self.containers) if ours else "", "")
        if words[1] == "info":
            return Answer(0, "/\n", "")
        if words[1:3] == ["container", "inspect"]:
            return Answer(0, json.dumps([self.containers[name] for name in words[4:] if name in self.containers]), "")
        if words[1:3] == ["container", "logs"]:
            return Answer(0, "", "it broke, password hunter22\n")
        if words[1:3] == ["image", "inspect"]:
            image = self.images.get(words[-1])
            return Answer(0, image, "") if image else Answer(1, "", f"No such image: {words[-1]}")
        if words[1:3] == ["image", "pull"]:
            return Answer(1, "", "no such host")
        if words[2] in ("ls", "rm"):
            return Answer(0, "", "")
        raise AssertionError(words)

    def watch(self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = 0.5) -> Answer:
        return self.ask(argv)

    def stream(self, argv: t.Sequence[str]) -> Stream:
        raise not_installed()  # a gate does without events

    def compose(self, words: list[str]) -> Answer:
        paths = [words[at + 1] for at, word in enumerate(words) if word == "--file"]
        documents = [json.loads(Path(path).read_text()) for path in paths if not path.endswith(".skipped.yml")]
        skipped = (
            re.findall(r'"(\w+)": {"profiles"', Path(paths[-1]).read_text()) if len(paths) > len(documents) else []
        )
        rest = words[words.index("--project-name") + 2 :]
        while rest[0].startswith("--"):
            rest = rest[2:]
        self.said.append(" ".join(["compose", *rest[:2]]))
        if rest[0] == "down":
            self.containers.clear()
            return Answer(0, "", "")
        services = {name: item for name, item in documents[0]["services"].items() if name not in skipped}
        folder = next(words[at + 1] for at, word in enumerate(words) if word == "--project-directory")
        secrets = {name: {"file": file} for name, file in documents[0].get("secrets", {}).items()}
        if rest[:2] == ["config", "--format"]:
            resolved = json.loads(json.dumps({"services": services, "secrets": secrets}).replace("@", folder))
            return Answer(0, json.dumps(resolved), "")
        added = documents[-1].get("services", {})
        hashes = {name: sha256(json.dumps([item, added.get(name)]).encode()) for name, item in services.items()}
        if rest[:2] == ["config", "--hash"]:
            return Answer(0, "".join(f"{name} {one}\n" for name, one in hashes.items()), "")
        assert rest == ["up", "--detach", "--no-build", "--remove-orphans"]
        kept = {name: item for name, item in self.containers.items() if name in skipped}
        made = {name: self.container(name, item["image"], hashes[name]) for name, item in services.items()}
        self.containers = {**kept, **made}
        return Answer(0, "", "")

    def container(self, name: str, image: str, config_hash: str) -> dict[str, t.Any]:
        labels = {"com.docker.compose.service": name, "com.docker.compose.config-hash": config_hash}
        status, code = {
            "good:1": ("running", 0),
            "good:2": ("running", 0),
            "dies:1": ("exited", 7),
            "job:1": ("exited", 0),
        }[image]
        return {
            "Id": name,
            "Name": f"/shop-{name}-1",
            "Image": self.images[image],
            "State": {"Status": status, "ExitCode": code},
            "Config": {"Labels": {**labels, "com.docker.compose.project": "shop"}},
            "HostConfig": {},
        }


@pytest.fixture(name="engine")
def engine_fixture(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(stack_release, "default_cli", lambda _keep_open: engine)
    return engine


Run = t.Callable[..., Result]


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path, engine: Engine) -> Run:
    """Run the module as Ansible would; return its JSON."""

    def run(**args: t.Any) -> Result:
        paths = {"root": str(tmp_path / "fleet"), "secrets_root": str(tmp_path / "secrets")}
        engine.said.clear()
        with patch_module_args({**paths, **args}), pytest.raises(SystemExit):
            stack_release.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


def release(image: str = "good:1", secrets: dict[str, str] | None = None, **document: t.Any) -> dict[str, t.Any]:
    web: dict[str, t.Any] = {"image": image, "secrets": [{"source": name} for name in secrets or {}]}
    content = json.dumps({"services": {"web": web, "load": {"image": "job:1"}}, "secrets": secrets or {}}).encode()
    whole = {
        "schema": 1,
        "stack": "shop",
        "environment": "dev",
        "compose": ["compose.yml"],
        "files": {"compose.yml": sha256(content)},
        "images": {"web": {"reference": "good:1", "input": "0" * 64}},
        "models": [],
        "services": {"web": {"lifecycle": "stateless", "url": "http://x:${PORT}"}, "load": {"lifecycle": "job"}},
        "parameters": {"PORT": {"type": "port", "default": 80}},
        "secrets": {name: {"description": ""} for name in secrets or {}},
        "rollout": {"success_threshold": 1, "gate_timeout": 5.0},
        **document,
    }
    canonical = json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()
    return {"release": whole, "id": sha256(canonical), "files": {"compose.yml": base64.b64encode(content).decode()}}


LOOK = ["compose config --format", "compose config --hash", "container inspect", "container ls"]


def test_a_release_is_committed_and_the_second_run_only_looks(run: Run, engine: Engine, tmp_path: Path) -> None:
    first = run(**release(), parameters={"PORT": 8080})
    assert first["changed"]
    assert [step["action"] for step in first["plan"]] == ["create", "create"]
    assert "compose up --detach" in engine.said
    assert (tmp_path / "fleet" / "stacks" / "shop" / "releases" / first["release"] / "compose.yml").exists()

    second = run(**release(), parameters={"PORT": "8080"})
    assert not second["changed"]
    assert second["diff"]["before"] == second["diff"]["after"]
    assert sorted(engine.said) == sorted([*LOOK, "image inspect", "image inspect"])
    assert [(row["service"], row["state"], row["url"]) for row in second["services"]] == [
        ("load", "exited", None),
        ("web", "running", "http://x:8080"),
    ]


def test_a_gate_that_changed_is_passed_and_committed_without_running_jobs_again(run: Run, engine: Engine) -> None:
    run(**release())
    result = run(**release(rollout={"success_threshold": 2, "gate_timeout": 5.0}))
    assert result["changed"]
    assert "compose up --detach" not in engine.said


def test_a_bad_release_goes_back_to_the_one_before_and_says_why(run: Run, engine: Engine) -> None:
    secret = {"key": "@/../../../../../secrets/shop/key"}
    good = release(secrets=secret)
    assert run(**good, secrets={"key": "hunter22"})["changed"]

    result = run(**release("dies:1", secrets=secret), secrets={"key": "hunter22"})

    assert (result["failed"], result["changed"]) == (True, True)
    assert (result["reason"], result["service"], result["check"]) == ("gate_failed", "web", "container")
    assert result["rolled_back_to"] == good["id"]
    assert result["log"] == ["it broke, password ********"]
    assert "ended with exit code 7" in result["msg"]
    assert "it broke, password ********" in result["msg"]
    assert engine.said.count("compose up --detach") == 2
    assert engine.containers["web"]["Image"] == "id-good"
    assert not run(**good)["changed"]


def test_a_bad_first_release_leaves_nothing(run: Run, engine: Engine, tmp_path: Path) -> None:
    result = run(**release("dies:1"))
    assert result["rolled_back_to"] is None
    assert "Nothing was committed before" in result["msg"]
    assert engine.containers == {}
    assert "compose down --remove-orphans" in engine.said
    stack = tmp_path / "fleet" / "stacks" / "shop"
    assert not list((stack / "releases").iterdir())
    assert not list((stack / "settings").iterdir())
    assert json.loads((stack / "state.json").read_text())["failure"]["reason"] == "gate_failed"


def test_a_release_is_not_replaced_where_it_could_not_come_back(run: Run, engine: Engine, tmp_path: Path) -> None:
    good, new = release(), release("good:2")
    run(**good)
    folder = tmp_path / "fleet" / "stacks" / "shop" / "releases"
    (folder / good["id"]).rename(tmp_path / "away")

    predicted, refused = run(**new, _ansible_check_mode=True), run(**new)

    for result in (predicted, refused):
        assert result["reason"] == "release_gone"
        assert f"go back to release {good['id'][:12]}, which it runs. Deploy that release once more" in result["msg"]
    assert list(folder.iterdir()) == []
    assert run(**good)["changed"]
    assert run(**new)["changed"]


DATA = {"load": {"lifecycle": "job", "irreversible": True}, "web": {"lifecycle": "stateless"}}


def test_a_job_that_cannot_be_undone_is_told_of_when_it_ran_and_the_release_went_back(run: Run) -> None:
    old = release(services=DATA)
    first = run(**old)
    assert "load" in [row["service"] for row in first["services"]]
    result = run(**release("dies:1", services=DATA))
    assert (
        "What load did to the data cannot be undone, and may be there still: no snapshot was taken before"
        in result["msg"]
    )
    again = run(**old)
    assert [step["action"] for step in again["plan"]] == ["none", "none"], again["plan"]


def test_a_job_that_cannot_be_undone_is_left_out_when_its_release_is_gone_back_to_and_stays_so(
    run: Run, engine: Engine, tmp_path: Path
) -> None:
    old, new = release(services=DATA), release("good:2", services=DATA)
    run(**old)
    run(**new)
    refused = run(stack="shop", state="rolled_back")
    assert refused["reason"] == "irreversible"
    assert "since then load ran" in refused["msg"]
    assert run(stack="shop", state="rolled_back", accept_loss=True)["changed"]
    journal = json.loads((tmp_path / "fleet" / "stacks" / "shop" / "state.json").read_text())
    assert (journal["committed"]["release"], journal["committed"]["irreversible"]) == (old["id"], [])
    assert not run(**old)["changed"]
    assert not run(stack="shop", state="rolled_back", to=old["id"])["changed"]
    assert run(stack="shop", state="rolled_back")["release"] == new["id"]


REFUSALS = [
    pytest.param({"parameters": {"PROT": 1}}, "parameter_invalid", "PROT", id="unknown parameter"),
    pytest.param({"secrets": {"kye": "x"}}, "secret_invalid", "kye", id="unknown secret"),
    pytest.param({"id": "0" * 64}, "release_invalid", "was changed after", id="another id"),
    pytest.param({"stack": "other"}, "release_invalid", "one of 'shop'", id="another stack"),
    pytest.param({"files": {}}, "release_invalid", "is missing", id="no files"),
    pytest.param({"keep": 0}, "release_invalid", "at least 1", id="keep nothing"),
    pytest.param({"data": True}, "release_invalid", "state=absent only", id="data without absent"),
    pytest.param(release("none:1"), "image_unavailable", "none:1", id="an image that cannot be had"),
    pytest.param(
        release("built:1", images={"web": {"reference": "built:1", "input": ""}}),
        "image_missing",
        "image_build",
        id="not built",
    ),
    pytest.param(
        release(models=[{"name": "m", "version": "1", "files": [{"path": "w", "sha256": "0" * 64, "size": 1}]}]),
        "model_missing",
        "model_pull",
        id="no model",
    ),
    pytest.param(
        release(secrets={"key": "@/../../../../../secrets/shop/key"}),
        "secret_missing",
        "secrets/shop/key",
        id="no secret",
    ),
]


@pytest.mark.parametrize(("changes", "reason", "message"), REFUSALS)
def test_a_refusal_has_its_reason_and_touches_nothing(
    run: Run, engine: Engine, tmp_path: Path, changes: dict[str, t.Any], reason: str, message: str
) -> None:
    result = run(**{**release(), **changes})
    assert result["reason"] == reason, result["msg"]
    assert message in result["msg"]
    assert engine.containers == {}
    assert not any(word in said for said in engine.said for word in ("up", "down"))
    stack = tmp_path / "fleet" / "stacks" / "shop"
    assert not (stack / "state.json").exists()
    assert not list((stack / "releases").glob("*"))
    assert not list((stack / "settings").glob("*"))


@pytest.mark.parametrize(
    ("options", "pending"),
    [
        pytest.param(release(), [], id="all there"),
        pytest.param(release("none:1"), ["image none:1 is not on this host"], id="an image would be pulled"),
        pytest.param(
            release(models=[{"name": "m", "version": "1", "files": [{"path": "w", "sha256": "0" * 64, "size": 1}]}]),
            ["model m/1: /fleet/models/m/1/w is not there"],
            id="a model would be published",
        ),
    ],
)
def test_check_mode_predicts_and_writes_nothing(
    run: Run, engine: Engine, tmp_path: Path, options: dict[str, t.Any], pending: list[str]
) -> None:
    result = run(**options, _ansible_check_mode=True)
    assert result["changed"]
    assert [said.replace(str(tmp_path), "") for said in result["pending"]] == pending
    assert result["diff"]["after"]["services"] == {
        "load": "created: it has no container",
        "web": "created: it has no container",
    }
    assert not any(word in said for said in engine.said for word in ("up", "down", "pull"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_predicted_in_check_mode_and_else_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jmespath", None)
    options = release(services={"web": {"gate": [{"http": {"port": 1, "expect": "a"}}]}, "load": {"lifecycle": "job"}})
    assert "python3-jmespath" in run(**options, _ansible_check_mode=True)["pending"][0]
    assert run(**options)["reason"] == "library_missing"


def test_check_mode_after_a_commit_predicts_nothing(run: Run) -> None:
    run(**release())
    assert not run(**release(), _ansible_check_mode=True)["changed"]


def test_without_an_engine_check_mode_predicts_and_the_real_run_refuses(run: Run, engine: Engine) -> None:
    engine.down = True
    predicted = run(**release(), _ansible_check_mode=True)
    assert predicted["changed"]
    assert predicted["diff"]["after"]["services"] == {"load": "created", "web": "created"}
    assert run(**release())["reason"] == "docker_unavailable"


def test_absent_takes_the_stack_down_once(run: Run, engine: Engine) -> None:
    run(**release())
    assert run(stack="shop", state="absent", _ansible_check_mode=True)["changed"]
    assert engine.containers
    assert run(stack="shop", state="absent")["changed"]
    assert engine.containers == {}
    again = run(stack="shop", state="absent")
    assert not again["changed"]
    assert not any("down" in said for said in engine.said)


def test_absent_with_data_removes_everything(run: Run, tmp_path: Path) -> None:
    run(**release(secrets={"key": "@/../../../../../secrets/shop/key"}), secrets={"key": "hunter22"})
    assert run(stack="shop", state="absent", data=True)["changed"]
    assert not list((tmp_path / "fleet" / "stacks").iterdir())
    assert not list((tmp_path / "secrets").iterdir())
    assert not run(stack="shop", state="absent", data=True)["changed"]


def test_where_there_is_no_docker_at_all_there_is_nothing_to_take_down(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stack_release, "default_cli", lambda _keep_open: DockerCli({"PATH": "/nothing"}))
    (tmp_path / "secrets" / "shop").mkdir(parents=True)
    assert not run(stack="shop", state="absent")["changed"]
    assert run(stack="shop", state="absent", data=True)["changed"]
    assert list((tmp_path / "secrets").iterdir()) == []


def test_a_stopped_engine_may_still_hold_the_stack_so_absent_refuses(run: Run, engine: Engine) -> None:
    engine.down = True
    assert run(stack="shop", state="absent")["reason"] == "docker_unavailable"


def test_every_reason_is_documented() -> None:
    assert [reason for reason in t.get_args(Reason) if f"V({reason})" not in stack_release.DOCUMENTATION] == []


@pytest.mark.parametrize("name", ["../x", "", "A"])
def test_absent_accepts_no_name_that_could_be_another_folder(run: Run, name: str) -> None:
    assert run(stack=name, state="absent", data=True)["reason"] == "release_invalid"
