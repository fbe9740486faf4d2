# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_stage as stages
from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Compose, Stream, not_installed
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import Link, Volume

STACK_LABEL = "org.emorobcare.fleet.stack=shop"
PROJECT = "com.docker.compose.project"


class Engine:
    """Answers by the end of a command, keeps what was said of what changes something; the rest is empty."""

    def __init__(self, answers: dict[str, Answer | str] | None = None) -> None:
        self.answers = answers or {}
        self.said: list[str] = []

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        words = " ".join(argv).removeprefix("docker ")
        if not any(word in words for word in (" ls ", " inspect ")):
            self.said.append(words)
        answer = next((one for key, one in self.answers.items() if words.endswith(key)), "")
        return answer if isinstance(answer, Answer) else Answer(0, answer, "")

    def watch(self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = 0.5) -> Answer:
        raise AssertionError(argv)

    def stream(self, argv: t.Sequence[str]) -> Stream:
        raise not_installed()


def failed(stderr: str) -> Answer:
    return Answer(1, "", stderr)


def inspected(name: str, project: str = "shop-blue") -> str:
    labels = {PROJECT: project, "com.docker.compose.service": name}
    one = {
        "Id": name,
        "Name": f"/{name}",
        "Image": "i",
        "State": {"Status": "running"},
        "Config": {"Labels": labels},
        "HostConfig": {},
    }
    return json.dumps([one])


@pytest.fixture(name="compose")
def compose_fixture(tmp_path: Path) -> Compose:
    return Compose("shop", "/r", "/s.env", ("/r/compose.yml", str(tmp_path / "host.json")))


CONFIG: dict[str, t.Any] = {
    "services": {"api": {"image": "a", "networks": {"default": None}}, "db": {"image": "d", "networks": {}}},
    "networks": {"default": {"name": "shop_default"}},
}


def split(compose: Compose, tmp_path: Path, **lifecycles: str) -> stages.Stage:
    return stages.make_stage("shop", "green", compose, CONFIG, lifecycles, lambda part: str(tmp_path / part))


def test_a_stage_with_sides_has_a_file_for_each_part_in_the_same_folder_with_the_same_settings(
    compose: Compose, tmp_path: Path
) -> None:
    stage = split(compose, tmp_path, db="stateful")
    assert stage.projects == ("shop-green", "shop-data")
    assert stage.side == Compose("shop-green", "/r", "/s.env", (str(tmp_path / "green"),))
    assert stage.data == Compose("shop-data", "/r", "/s.env", (str(tmp_path / "data"),))
    assert stage.parts is not None
    assert json.loads((tmp_path / "green").read_text()) == stage.parts.side
    assert json.loads((tmp_path / "data").read_text()) == stage.parts.data
    assert (tmp_path / "green").stat().st_mode & 0o777 == 0o600


def test_a_stage_without_data_or_without_sides_has_one_project(compose: Compose, tmp_path: Path) -> None:
    assert split(compose, tmp_path).projects == ("shop-green",)
    assert stages.make_stage("shop", None, compose, CONFIG, {}, str).projects == ("shop",)


def test_all_that_a_stack_may_have_is_known_by_its_name() -> None:
    assert stages.all_projects("shop") == ("shop", "shop-data", "shop-blue", "shop-green", "shop-ingress")


def test_jobs_are_skipped_by_rewriting_a_side_or_by_a_file_more(compose: Compose, tmp_path: Path) -> None:
    config = {**CONFIG, "services": {**CONFIG["services"], "load": {"image": "l"}}}
    side = stages.make_stage("shop", "blue", compose, config, {}, lambda part: str(tmp_path / part))
    skipped = stages.skip_jobs(side, config, ["load"])
    assert skipped.side == side.side
    assert sorted(json.loads((tmp_path / "blue").read_text())["services"]) == ["api", "db"]

    whole = stages.skip_jobs(stages.make_stage("shop", None, compose, CONFIG, {}, str), config, ["load"])
    path = tmp_path / "host.json.skipped.yml"
    assert whole.side.files == (*compose.files, str(path))
    assert path.read_text() == 'services:\n  "load": {"profiles": ["skipped"]}\n'


def test_volumes_are_made_once_with_the_labels_that_compose_would_give_them() -> None:
    engine = Engine({"volume inspect -- shop_data": failed("no such volume")})
    volumes = [Volume("shop_data", "data", "local", {"type": "nfs", "o": "addr=x"}), Volume("shop_old", "old", "l", {})]
    stages.make_volumes(engine, "shop", volumes)
    assert engine.said == [
        f"volume create --driver local --label={STACK_LABEL} --label={PROJECT}=shop "
        "--label=com.docker.compose.volume=data --opt=type=nfs --opt=o=addr=x -- shop_data"
    ]


def test_a_volume_that_cannot_be_made_is_named() -> None:
    engine = Engine({"inspect -- v": failed("none"), "-- v": failed("no such driver")})
    with pytest.raises(ReleaseError, match="docker volume create v failed: no such driver") as caught:
        stages.make_volumes(engine, "shop", [Volume("v", "v", "odd", {})])
    assert caught.value.reason == "docker_failed"


DB = Container("1", "shop-db-1", service="db", networks=("shop-data_default",))
LINKS = [Link("db", "shop-blue_default", ("db", "store")), Link("cache", "shop-blue_default", ("cache",))]


def test_data_is_attached_to_a_side_by_the_names_that_it_is_known_by() -> None:
    engine = Engine()
    stages.attach(engine, [DB, Container("2", "shop-api-1", service="api")], LINKS)
    assert engine.said == ["network connect --alias=db --alias=store -- shop-blue_default 1"]


def test_what_is_attached_already_is_left_alone() -> None:
    engine = Engine()
    stages.attach(engine, [Container("1", "x", service="db", networks=("shop-blue_default",))], LINKS)
    assert engine.said == []


def test_somebody_else_may_have_attached_it_meanwhile_and_anything_else_is_an_error() -> None:
    engine = Engine()
    engine.answers = {
        "shop-blue_default 1": failed("endpoint with name db already exists in network shop-blue_default")
    }
    stages.attach(engine, [DB], LINKS)
    engine.answers = {"shop-blue_default 1": failed("network not found")}
    with pytest.raises(ReleaseError, match="network connect shop-blue_default failed: network not found"):
        stages.attach(engine, [DB], LINKS)


LIST = "label=com.docker.compose.project=shop-blue"


def test_a_project_is_taken_down_with_its_networks_and_what_else_is_attached_is_let_go() -> None:
    engine = Engine()
    engine.answers = {
        f"network ls --format {{{{.Name}}}} --filter {LIST}": "shop-blue_default\n",
        f"oneoff=False --filter {LIST}": "api",
        "container inspect -- api": inspected("api"),
        "container ls --all --quiet --no-trunc --filter network=shop-blue_default": "api\ndb\ningress\n",
        "network rm -- shop-blue_default": failed("network shop-blue_default not found"),
    }
    stages.clear(engine, ["shop-blue"])
    assert engine.said == [
        "network disconnect --force -- shop-blue_default db",
        "network disconnect --force -- shop-blue_default ingress",
        "compose --ansi never --progress quiet --project-name shop-blue down --remove-orphans",
        "network rm -- shop-blue_default",
    ]
    engine.answers["network rm -- shop-blue_default"] = failed("it has active endpoints")
    with pytest.raises(ReleaseError, match="network rm shop-blue_default failed: it has active endpoints") as caught:
        stages.clear(engine, ["shop-blue"])
    assert caught.value.reason == "removal_failed"


@pytest.mark.parametrize(
    ("there", "ingress", "expected"),
    [
        pytest.param([], True, [], id="nothing"),
        pytest.param(["shop-green", "shop-data", "shop-ingress"], True, [], id="only what is to be there"),
        pytest.param(["shop-green", "shop-ingress"], False, ["shop-ingress"], id="an ingress that is not wanted"),
        pytest.param(["shop", "shop-blue"], True, ["shop", "shop-blue"], id="the old side, and what had no sides"),
    ],
)
@pytest.mark.parametrize("kind", ["network", "oneoff=False"])
def test_what_no_stage_has_is_left_over(
    compose: Compose, tmp_path: Path, there: list[str], ingress: bool, expected: list[str], kind: str
) -> None:
    engine = Engine()
    listing = "network ls --format {{.Name}}" if kind == "network" else kind
    engine.answers = {f"{listing} --filter label={PROJECT}={project}": "x" for project in there}
    stage = split(compose, tmp_path, db="stateful")
    assert stages.left_over(engine, "shop", [stage], ingress) == expected
    assert engine.said == []
