# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role says of itself, and what it passes to its modules."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "image_build"


def read(name: str) -> t.Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def test_defaults_and_argument_specs_are_the_same() -> None:
    options = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items() if "default" in option} == read(
        "defaults/main.yml"
    )


@pytest.mark.parametrize("file", ["bases.yml", "images.yml", "look.yml"])
def test_whatever_makes_images_makes_them_for_all_platforms(file: str) -> None:
    modules = ("emorobcare.fleet.image_base", "emorobcare.fleet.image_build")
    calls = [task[module] for task in read(f"tasks/{file}") for module in modules if module in task]
    assert calls
    assert {call["platforms"] for call in calls} == {"{{ image_build_platforms }}"}


OWN, FOREIGN = {"service": "api", "reference": "stack/api:1"}, {"service": "api", "reference": "stack/api:1-arm64"}

CHOSEN = [
    pytest.param([OWN], [OWN], id="the engine's own alone"),
    pytest.param([OWN, FOREIGN], [OWN], id="of several platforms the engine's own"),
    pytest.param([FOREIGN], [], id="no image that is not there"),
]


def template(expression: str, **variables: t.Any) -> t.Any:
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(expression))


@pytest.mark.parametrize(("built", "chosen"), CHOSEN)
def test_audit_and_report_are_about_the_engines_own_images(
    built: list[dict[str, str]], chosen: list[dict[str, str]]
) -> None:
    variables = {"__image_build_images": built, "__image_build_read": {"images": [OWN], "audit": [OWN]}}
    (audit,) = (task["vars"] for task in read("tasks/make.yml") if task["name"] == "make | Audit the images")
    assert template(audit["__image_build_to_audit"], **variables) == chosen
    report = read("tasks/report.yml")[0]["emorobcare.fleet.image_report"]
    assert template(report["images"], **variables) == chosen


@pytest.mark.parametrize(
    ("audit", "platforms", "report", "first"),
    [
        pytest.param(True, [], "", True, id="usually"),
        pytest.param(False, [], "", False, id="not without an audit"),
        pytest.param(True, ["linux/arm64"], "", False, id="not for platforms that it does not know of"),
        pytest.param(True, [], "images.html", False, id="not for a report, which tells how images came to be"),
    ],
)
def test_the_audit_comes_first_where_it_tells_all(audit: bool, platforms: list[str], report: str, first: bool) -> None:
    settings = {"image_build_audit": audit, "image_build_platforms": platforms, "image_build_report": report}
    assert template(read("vars/main.yml")["__image_build_audit_first"], **settings) is first


DOOR = {"ingress": {"image": "emorobcare.fleet/base-haproxy:1"}}


@pytest.mark.parametrize(
    ("source", "document", "needed"),
    [
        pytest.param("debian", DOOR, ["emorobcare.fleet/base-haproxy:1"], id="made here"),
        pytest.param("registry", DOOR, [], id="pulled"),
        pytest.param("debian", {}, [], id="no ingress"),
    ],
)
def test_an_ingress_that_is_made_here_must_be_there(source: str, document: t.Any, needed: list[str]) -> None:
    expression = read("vars/main.yml")["__image_build_ingress"]
    variables = {"image_build_base_source": source, "__image_build_read": {"release": {"document": document}}}
    assert template(expression, **variables) == needed
