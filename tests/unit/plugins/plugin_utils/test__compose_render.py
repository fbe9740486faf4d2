# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose files become one document; tests/faults holds the same against Compose itself."""

from __future__ import annotations

import textwrap
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import parse_compose
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_render import rendered

BASE = """\
services:
  web:
    image: web:1
    cap_drop: [ALL]
    command: [a, b]
    volumes: ["/etc:/x", "data:/d"]
    devices: ["/dev/a:/dev/x"]
    deploy: {resources: {limits: {memory: 64M, pids: 7}}}
"""


def web(*files: str, **values: str) -> dict[str, t.Any]:
    documents = [parse_compose(f"{number}.yml", textwrap.dedent(text).encode()) for number, text in enumerate(files)]
    return t.cast("dict[str, t.Any]", rendered(documents, values)["services"]["web"])


def overlay(text: str) -> str:
    return f"services:\n  web:\n    {text}\n"


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("privileged: true", "privileged", True),
        ("cap_drop: [NET_RAW, ALL]", "cap_drop", ["ALL", "NET_RAW"]),
        ("cap_drop: !override [NET_RAW]", "cap_drop", ["NET_RAW"]),
        ("cap_drop: !reset []", "cap_drop", None),
        ("command: [c]", "command", ["c"]),
        ('volumes: ["./etc:/x"]', "volumes", ["data:/d", "./etc:/x"]),
        ("volumes: [{type: bind, source: /srv, target: /d}]", "volumes", None),
        ('devices: ["/dev/b:/dev/x"]', "devices", ["/dev/b:/dev/x"]),
        (
            "deploy: {resources: {limits: {memory: 1G}}}",
            "deploy",
            {"resources": {"limits": {"memory": "1G", "pids": 7}}},
        ),
        ("deploy: !override {replicas: 2}", "deploy", {"replicas": 2}),
        ("deploy:", "deploy", {"resources": {"limits": {"memory": "64M", "pids": 7}}}),
    ],
)
def test_an_overlay_is_merged_by_the_rules_of_compose(text: str, key: str, expected: t.Any) -> None:
    found = web(BASE, overlay(text)).get(key)
    if key == "volumes" and expected is None:
        expected = ["/etc:/x", {"type": "bind", "source": "/srv", "target": "/d"}]
    assert found == expected


def test_a_service_that_an_overlay_takes_away_is_gone() -> None:
    documents = [parse_compose("a", BASE.encode()), parse_compose("b", b"services: {web: !reset null, db: {}}")]
    assert list(rendered(documents, {})["services"]) == ["db"]


def test_a_service_has_what_the_one_has_that_it_extends() -> None:
    text = """\
        services:
          root: {privileged: true, cap_drop: [ALL]}
          base: {extends: root, cap_drop: [NET_RAW]}
          web: {extends: {service: base}, image: web:1}
        """
    assert web(text) == {
        "privileged": True,
        "cap_drop": ["ALL", "NET_RAW"],
        "image": "web:1",
        "extends": {"service": "base"},
    }


@pytest.mark.parametrize("extends", ["web", "{service: gone}", "{service: web, file: x.yml}", "7", "[web]"])
def test_a_service_that_extends_itself_or_nothing_is_as_it_says(extends: str) -> None:
    assert web(f"services: {{web: {{extends: {extends}, pid: host}}}}")["pid"] == "host"


def test_two_services_that_extend_each_other_end() -> None:
    text = "services: {web: {extends: db, pid: host}, db: {extends: web, ipc: host}}"
    assert (web(text)["pid"], web(text)["ipc"]) == ("host", "host")


def test_variables_are_filled_in_and_unknown_ones_stay() -> None:
    text = 'services: {web: {ports: ["${BIND}:${PORT:-80}:80"], volumes: ["${DATA}:/d", "a$"]}}'
    found = web(text, BIND="0.0.0.0")
    assert (found["ports"], found["volumes"]) == (["0.0.0.0:80:80"], ["${DATA}:/d", "a$"])
