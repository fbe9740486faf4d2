# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import (
    Base,
    Entry,
    LayerFacts,
    Secret,
    read_config,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._audit import CONFIG, PINNED, image

UNKNOWN = Base("python:3.13@sha256:" + "0" * 64)


def test_facts_of_a_layer_come_back_from_json_as_they_were() -> None:
    facts = LayerFacts(
        "d", (Entry("/a", "f", 0o755, 3), Entry("/l", "l", 0o777, 0, "a")), (Secret("/a", "key", 1, "x"),)
    )
    assert LayerFacts.from_json("d", json.loads(json.dumps(facts.as_json()))) == facts


@pytest.mark.parametrize(
    "data", [None, [], {}, {"version": 0, "entries": [], "secrets": []}, {"version": 1, "entries": 3}]
)
def test_what_is_no_facts_counts_as_none(data: object) -> None:
    assert LayerFacts.from_json("d", data) is None


@pytest.mark.parametrize(
    ("bases", "own_from"),
    [
        pytest.param((PINNED,), 1, id="the base's layers are not the image's own"),
        pytest.param((Base("b", None, ("sha256:other",)), PINNED), 1, id="a base of another stage does not count"),
        pytest.param((UNKNOWN, PINNED), 1, id="one that fits is enough"),
        pytest.param((UNKNOWN,), None, id="a base that the engine lacks"),
        pytest.param((), 0, id="built from nothing"),
        pytest.param((Base("b", None, ("sha256:other",)),), 0, id="none that fits"),
    ],
)
def test_own_layers_are_told_from_the_bases_by_diff_ids(bases: tuple[Base, ...], own_from: int | None) -> None:
    assert image(bases=bases).own_from == own_from


def test_each_layer_has_the_command_that_made_it() -> None:
    assert CONFIG.steps == ("base", "COPY app /opt/app")


def test_a_configuration_without_anything_is_read() -> None:
    config = read_config({"rootfs": {"diff_ids": ["sha256:a"]}, "config": None})
    assert (config.user, config.health, config.steps) == ("", (), ("",))
