# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold between the stack's own files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

STACK = Path(__file__).parents[4] / "stacks" / "newscast"
COMPOSE = yaml.safe_load((STACK / "compose.yml").read_text(encoding="utf-8"))
FILE = yaml.safe_load((STACK / "stack.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_a_service_can_do_no_more_than_it_must(service: str) -> None:
    settings = COMPOSE["services"][service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["user"] == "10001:10001"
    assert set(settings["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert "ports" not in settings


@pytest.mark.parametrize("service", [name for name in FILE["images"] if name != "migrate"])
def test_compose_and_the_image_check_health_in_the_same_way(service: str) -> None:
    text = (STACK / "images" / service / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^HEALTHCHECK[^[]*(\[.*\])$", text, re.MULTILINE)
    assert found
    assert COMPOSE["services"][service]["healthcheck"]["test"] == ["CMD", *json.loads(found[1])]


def test_metrics_and_data_are_on_networks_apart_that_have_no_way_out() -> None:
    networks = {name: set(service["networks"]) for name, service in COMPOSE["services"].items()}
    assert networks["prometheus"] == {"monitoring"}
    assert networks["db"] == networks["redis"] == networks["migrate"] == {"backend"}
    assert COMPOSE["networks"]["backend"]["internal"] is COMPOSE["networks"]["monitoring"]["internal"] is True
