# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_ingress as ingress
from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Compose
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_candidate import Candidate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import Port
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import Colour, split
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import Stage

PLAIN: dict[str, t.Any] = {
    "image": "haproxy:1",
    "http": "127.0.0.1:${PORT}",
    "https": None,
    "tls": None,
    "routes": [{"service": "api", "port": 8000, "path": "/", "host": None, "strip": False, "tcp": None}],
}
DOCUMENT: t.Mapping[str, t.Any] = types.MappingProxyType(PLAIN)
SECURE = {**DOCUMENT, "https": "8443", "tls": {"certificate": "cert", "authority": None}}


def candidate(colour: Colour = "blue", document: t.Any = None, **secrets: bytes) -> Candidate:
    config = {"services": {"api": {"image": "a", "networks": {"default": None}, "scale": 2}}, "networks": {}}
    compose = Compose(f"shop-{colour}", "/r", "/e", ())
    release: t.Any = types.SimpleNamespace(stack="shop", ingress=DOCUMENT if document is None else document)
    return Candidate(
        identity=Identity("r", "s"),
        release=release,
        compose=compose,
        config=config,
        stage=Stage("shop", colour, compose, None, split(config, "shop", colour, {"api": "stateless"})),
        hashes={},
        parameters={"PORT": "80"},
        secrets=secrets,
    )


class Host:
    """An engine with at most one container, and the HAProxy in it."""

    def __init__(self) -> None:
        self.container: Container | None = None
        self.said: list[str] = []
        self.done: list[str] = []
        self.now: Colour | None = None
        self.cut = 0

    # What is asked of Docker.
    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        words = list(argv)
        self.said.append(" ".join(word for word in words[1:] if not word.startswith("/")))
        if words[1:2] == ["compose"] and "up" in words:
            self.container = self.container or Container("1", "shop-ingress-1", service="ingress")
            self.container = dataclasses.replace(self.container, status="running")
        return Answer(0, "ingress wanted\n" if "--hash" in words else "", "")

    # What is asked of HAProxy.
    def __call__(self, _places: t.Any, container: str, _docker: t.Any) -> Host:
        self.done.append(f"connected to {container}")
        return self

    def wait_until_answers(self, _deadline: float) -> None:
        self.done.append("answers")

    def wait_until_up(self, colour: Colour, _deadline: float) -> None:
        self.done.append(f"{colour} is up")

    def live(self) -> Colour | None:
        return self.now

    def switch(self, colour: Colour | None) -> bool:
        if self.now == colour:
            return False
        self.now = colour
        self.done.append(f"serves {colour}")
        return True

    def reload(self, config: str) -> None:
        sides = [colour for colour in ("blue", "green") if f"backend {colour}-api-8000" in config]
        self.done.append(f"runs {' and '.join(sides)}")

    def drain(self, colour: Colour, limit: float) -> int:
        self.done.append(f"drained {colour} for {limit:g} s")
        return self.cut


@pytest.fixture(name="host")
def host_fixture(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(ingress, "IngressRuntime", host)
    monkeypatch.setattr(ingress, "look", lambda *_args: (host.container,) if host.container else ())
    monkeypatch.setattr(ingress, "make_folders", lambda places: Path(places.folder).mkdir(parents=True, exist_ok=True))
    monkeypatch.setattr(ingress, "install", lambda _places, _config, live: setattr(host, "now", live))
    return host


@pytest.fixture(name="warnings")
def warnings_fixture() -> list[str]:
    return []


@pytest.fixture(name="door")
def door_fixture(host: Host, tmp_path: Path, warnings: list[str]) -> ingress.Door:
    places = Places(str(tmp_path / "fleet"), str(tmp_path / "secrets"), "shop")
    return ingress.Door(Site(places, t.cast(t.Any, host), False, warnings.append), "shop")


UP = Container("1", "shop-ingress-1", service="ingress", config_hash="wanted")


@pytest.mark.parametrize(
    ("container", "action", "why"),
    [
        pytest.param(None, "create", "it has no container", id="none"),
        pytest.param(UP, "none", "", id="as it should be"),
        pytest.param(
            dataclasses.replace(UP, config_hash="other"),
            "recreate",
            "its image or its published ports changed",
            id="another one",
        ),
        pytest.param(dataclasses.replace(UP, status="exited"), "start", "it is exited", id="it was stopped"),
    ],
)
def test_what_has_to_happen_to_the_ingress(
    host: Host, door: ingress.Door, tmp_path: Path, container: Container | None, action: str, why: str
) -> None:
    host.container = container
    step = door.step(ingress.ingress_of(candidate()), str(tmp_path))
    assert (step.service, step.action, step.why) == ("ingress", action, why)
    assert (tmp_path / "ingress.json").stat().st_mode & 0o777 == 0o600


def test_it_comes_up_on_the_colour_that_is_to_serve_and_on_the_networks_of_its_sides(
    host: Host, door: ingress.Door
) -> None:
    door.stand_before([candidate("blue")], "blue")
    assert host.done == ["connected to 1", "answers", "runs blue"]
    assert host.now == "blue"
    assert host.said[-1] == "network connect -- shop-blue_default 1"


@pytest.mark.parametrize(
    ("now", "switched"),
    [
        pytest.param("blue", [], id="the old side serves on"),
        pytest.param("green", ["serves blue"], id="a run that was cut off had turned to the new one"),
        pytest.param(None, ["serves blue"], id="nobody served"),
    ],
)
def test_with_a_second_side_serves_who_is_to_serve(
    host: Host, door: ingress.Door, now: Colour | None, switched: list[str]
) -> None:
    host.container, host.now = dataclasses.replace(UP, networks=("shop-blue_default",)), now
    door.stand_before([candidate("blue"), candidate("green")], "blue")
    assert host.done == ["connected to 1", "answers", *switched, "runs blue and green"]
    assert [said for said in host.said if "connect" in said] == ["network connect -- shop-green_default 1"]


def test_before_the_first_gate_it_serves_nobody(host: Host, door: ingress.Door) -> None:
    door.stand_before([candidate("blue")], None)
    assert host.now is None
    assert host.done == ["connected to 1", "answers", "runs blue"]


def test_a_side_that_is_gone_from_the_configuration_does_not_serve_on(host: Host, door: ingress.Door) -> None:
    host.container, host.now = UP, "green"
    door.stand_before([candidate("blue")], "blue")
    assert host.done[2:] == ["serves blue", "runs blue"]


def test_a_side_is_turned_to_when_it_is_up(host: Host, door: ingress.Door) -> None:
    host.container = UP
    door.turn("green", 5.0)
    assert host.done[1:] == ["green is up", "serves green"]


@pytest.mark.parametrize(
    ("container", "now", "turned"),
    [
        pytest.param(UP, "green", True, id="it served the other"),
        pytest.param(UP, "blue", False, id="it did already"),
        pytest.param(dataclasses.replace(UP, status="exited"), "green", False, id="it is down"),
        pytest.param(None, None, False, id="there is none"),
    ],
)
def test_on_the_way_back_it_is_turned_if_it_is_up(
    host: Host, door: ingress.Door, container: Container | None, now: Colour | None, turned: bool
) -> None:
    host.container, host.now = container, now
    assert door.turn_if_there("blue") is turned


def test_connections_that_were_cut_are_told_of(host: Host, door: ingress.Door, warnings: list[str]) -> None:
    host.container = UP
    door.drain("blue", 5.0)
    assert warnings == []
    host.cut = 3
    door.drain("blue", 5.0)
    assert warnings == ["3 connections to the blue side were open after 5 s and were cut"]


def test_where_there_is_no_ingress_nothing_can_be_turned(door: ingress.Door) -> None:
    with pytest.raises(ReleaseError, match="the ingress has no container; run the same command again") as caught:
        door.turn("blue", 1.0)
    assert caught.value.reason == "ingress_failed"


def test_sides_without_an_ingress_are_refused_with_the_way_out() -> None:
    with pytest.raises(ReleaseError, match=r"add ingress to stack\.yml, or use the strategy recreate") as caught:
        ingress.ingress_of(candidate(document={}))
    assert caught.value.reason == "release_invalid"


def test_the_ports_of_the_host_are_those_that_it_publishes() -> None:
    tcp = {**DOCUMENT["routes"][0], "path": None, "tcp": "9000"}
    made = ingress.ingress_of(candidate(document={**SECURE, "routes": [*DOCUMENT["routes"], tcp]}))
    assert ingress.ingress_ports(made) == [
        Port("ingress", "127.0.0.1", 80, "tcp"),
        Port("ingress", "", 8443, "tcp"),
        Port("ingress", "", 9000, "tcp"),
    ]


def test_a_certificate_that_the_host_has_not_is_refused_before_anything_is_touched() -> None:
    secure = candidate(document=SECURE)
    with pytest.raises(ReleaseError, match=r"the secret 'cert', and this host has none.*Nothing was touched") as caught:
        ingress.refuse_missing_certificate(ingress.ingress_of(secure), secure)
    assert caught.value.reason == "secret_missing"
    given = candidate(document=SECURE, cert=b"pem")
    ingress.refuse_missing_certificate(ingress.ingress_of(given), given)
    ingress.refuse_missing_certificate(ingress.ingress_of(candidate()), candidate())
