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


@pytest.mark.parametrize(("built", "chosen"), CHOSEN)
@pytest.mark.parametrize(("file", "module"), [("audit.yml", "image_audit"), ("report.yml", "image_report")])
def test_audit_and_report_are_about_the_engines_own_images(
    file: str, module: str, built: list[dict[str, str]], chosen: list[dict[str, str]]
) -> None:
    expression = read(f"tasks/{file}")[0][f"emorobcare.fleet.{module}"]["images"]
    variables = {"__image_build_images": built, "__image_build_read": {"images": [OWN], "audit": [OWN]}}
    assert Templar(loader=DataLoader(), variables=variables).template(trust_as_template(expression)) == chosen
