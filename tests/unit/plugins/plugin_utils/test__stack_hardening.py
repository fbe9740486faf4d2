# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stack is refused for what is dangerous, warned of the rest, and excepted until a day."""

from __future__ import annotations

import datetime
import json
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_facts import ContainerFacts
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_containers import RULES
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack import load_stack
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_hardening import Judging, warning
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import SCHEMA_FILE

ROOT = Path(__file__).resolve().parents[4]
STACKS = ROOT / "stacks"
RECIPES = ROOT / "roles" / "image_build" / "files" / "bases"
TODAY = datetime.date(2027, 6, 30)

HARD = (
    'image: shop/web:7, user: "10001", read_only: true, cap_drop: [ALL], security_opt: ["no-new-privileges:true"], '
    'restart: unless-stopped, healthcheck: {test: [CMD, "true"]}, '
    "deploy: {resources: {limits: {cpus: '1', memory: 64M, pids: 32}}}"
)
STACK = "name: shop\nservices: {web: {lifecycle: stateless}, db: {lifecycle: stateful}}\n"

Found = list[dict[str, t.Any]]


class Shop:
    """A stack in which nothing is wrong, and what tests change of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, web: str = "", policy: str = "", db: str = "") -> None:
        def service(more: str) -> str:
            return f"{{{HARD}{f', {more}' if more else ''}}}"

        rules = f"hardening: {{rules: {{{policy}}}}}\n" if policy else ""
        (self.folder / "stack.yml").write_text(STACK + rules)
        text = f"services:\n  web: {service(web)}\n  db: {service(db)}\n"
        (self.folder / "compose.yml").write_text(text)

    def load(self, environment: str | None = None, **how: t.Any) -> Found:
        judging = Judging(today=how.pop("today", TODAY), **how)
        return t.cast(Found, load_stack(self.folder, environment, "debian", self.folder, judging=judging)["hardening"])

    def refused(self, **how: t.Any) -> list[str]:
        with pytest.raises(StackFileError) as caught:
            self.load(**how)
        return [str(problem) for problem in caught.value.problems]


@pytest.fixture(name="shop")
def shop_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    shop = Shop(folder)
    shop.write()
    return shop


def told(found: Found) -> list[tuple[str, str, str]]:
    return [(one["service"], one["rule"], one["level"]) for one in found]


def test_a_hardened_stack_violates_nothing(shop: Shop) -> None:
    assert shop.load() == []


def test_what_is_dangerous_is_refused_with_service_place_number_and_way_out(shop: Shop) -> None:
    shop.write("privileged: true")
    assert shop.refused() == [
        "shop/compose.yml:2: services.web.privileged: service 'web': it is privileged (CIS 5.5, privileged). Take "
        "privileged out, and name what the service needs of it: capabilities in cap_add, devices in devices; or say in "
        "stack.yml why it may, and until when: hardening.rules.privileged"
    ]


def test_everything_is_refused_at_once_with_what_else_is_wrong(shop: Shop) -> None:
    shop.write("pid: host, network_mode: host", db='volumes: ["/var/run/docker.sock:/s"], build: x')
    places = [line.split(": ")[1] for line in shop.refused()]
    assert places == ["services.web.network_mode", "services.web.pid", "services.db.build", "services.db.volumes"]


def test_the_rest_is_told_and_does_not_refuse(shop: Shop) -> None:
    shop.write('ports: ["80:80"]', db="cap_add: [SYS_NICE]")
    found = shop.load()
    assert told(found) == [
        ("web", "privileged-ports", "warn"),
        ("web", "port-address", "warn"),
        ("db", "capabilities", "warn"),
    ]
    assert (found[0]["control"], found[0]["evidence"]) == ("5.8", ["port 80:80/tcp"])
    assert warning("shop", found).splitlines()[1:] == [
        "web: privileged-ports (5.8), port-address (5.14)",
        "db: capabilities (5.4)",
    ]


def test_nothing_is_said_where_nothing_is_violated() -> None:
    assert warning("shop", []) == ""


def test_what_is_only_reported_refuses_nothing(shop: Shop) -> None:
    shop.write("privileged: true")
    assert told(shop.load(refuse=False)) == [("web", "privileged", "fail")]


EXCEPTION = "privileged: {level: ignore, reason: a driver, until: 2027-06-30}"


def test_an_exception_passes_with_its_reason_to_its_last_day(shop: Shop) -> None:
    shop.write("privileged: true", EXCEPTION)
    (found,) = shop.load()
    assert (found["level"], found["reason"], found["until"]) == ("ignore", "a driver", "2027-06-30")
    assert warning("shop", [found]) == ""


def test_an_exception_comes_back_the_day_after(shop: Shop) -> None:
    shop.write("privileged: true", EXCEPTION)
    (message,) = shop.refused(today=TODAY + datetime.timedelta(days=1))
    assert "(CIS 5.5, privileged) (no longer ignored: 2027-06-30 has passed). Take privileged out" in message


def test_an_exception_is_for_the_services_that_it_names(shop: Shop) -> None:
    shop.write("pid: host", f"host-pid: {{{EXCEPTION.split('{')[1][:-1]}, services: [web]}}", db="pid: host")
    assert [line.split(": ")[1] for line in shop.refused()] == ["services.db.pid"]
    assert told(shop.load(refuse=False)) == [("web", "host-pid", "ignore"), ("db", "host-pid", "fail")]


@pytest.mark.parametrize(
    ("policy", "level"),
    [
        ("", []),
        ("restart-limit: {level: warn}", [("web", "restart-limit", "warn"), ("db", "restart-limit", "warn")]),
        ("restart-limit: {level: warn, services: [db]}", [("db", "restart-limit", "warn")]),
    ],
)
def test_what_nobody_asks_for_by_default_can_be_asked_for(shop: Shop, policy: str, level: list[t.Any]) -> None:
    shop.write("", policy)
    assert told(shop.load()) == level


def test_a_warning_can_be_made_a_refusal_and_a_refusal_a_warning(shop: Shop) -> None:
    shop.write("pid: host", "host-pid: {level: warn}")
    assert told(shop.load()) == [("web", "host-pid", "warn")]
    shop.write('ports: ["80:80"]', "port-address: {level: fail}")
    assert [line.split(": ")[1] for line in shop.refused()] == ["services.web.ports"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            "privileged: {level: ignore}",
            "shop/stack.yml:3: hardening.rules.privileged: a rule that is ignored needs a reason and a last day; "
            "missing: reason, until",
        ),
        (
            "privileged: {level: ignore, reason: x, until: 2027-02-30}",
            'shop/stack.yml:3: hardening.rules.privileged.until: "2027-02-30" is no date of the calendar; allowed: a '
            "date such as 2027-06-30",
        ),
        (
            "privileged: {level: warn, services: [wbe]}",
            "shop/stack.yml:3: hardening.rules.privileged.services[0]: unknown service 'wbe'; did you mean 'web'? "
            "Services: web, db",
        ),
        (
            "priviledged: {level: warn}",
            "unknown key 'priviledged'; did you mean 'privileged'?",
        ),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(shop: Shop, policy: str, message: str) -> None:
    shop.write("privileged: true", policy)
    assert message in "\n".join(shop.refused())


def test_an_overlay_counts_and_the_message_names_it(shop: Shop) -> None:
    (shop.folder / "compose.dev.yml").write_text("services:\n  web:\n    ipc: host\n")
    assert shop.load() == []
    with pytest.raises(StackFileError, match=r"shop/compose\.dev\.yml:3: services\.web\.ipc: "):
        shop.load("dev")


def test_a_service_that_is_not_deployed_is_not_looked_at(shop: Shop) -> None:
    shop.write("privileged: true, profiles: [debug]")
    assert shop.load() == []


def test_a_job_needs_no_health_check(shop: Shop) -> None:
    shop.write()
    compose, file = shop.folder / "compose.yml", shop.folder / "stack.yml"
    compose.write_text(compose.read_text().replace('test: [CMD, "true"]', "disable: true", 1))
    assert told(shop.load()) == [("web", "health-check", "warn")]
    file.write_text(file.read_text().replace("stateless", "job"))
    assert shop.load() == []


def test_parameters_count_by_what_the_host_sets_else_by_their_defaults(shop: Shop) -> None:
    shop.write('ports: ["${BIND}:8080:80"], privileged: "${ALL}"')
    file = shop.folder / "stack.yml"
    parameters = "parameters: {BIND: {type: str, default: 127.0.0.1}, ALL: {type: bool, default: false}}\n"
    file.write_text(file.read_text() + parameters)
    assert shop.load() == []
    assert told(shop.load(parameters={"BIND": "0.0.0.0"})) == [("web", "port-address", "warn")]
    assert told(shop.load(parameters={"ALL": True}, refuse=False)) == [("web", "privileged", "fail")]
    assert shop.load(parameters={"NOT_A_PARAMETER": "x"}) == []


def test_a_plain_compose_file_is_held_against_the_same_rules(shop: Shop) -> None:
    (shop.folder / "stack.yml").unlink()
    assert shop.load() == []
    (shop.folder / "compose.yml").write_text("services: {web: {image: nginx, privileged: true}}\n")
    assert [line.split(": ")[:2] for line in shop.refused()] == [["shop/compose.yml:1", "services.web.privileged"]]


def test_the_release_is_the_same_whatever_is_ignored_when(shop: Shop) -> None:
    shop.write("privileged: true")
    before = load_stack(shop.folder, None, "debian", shop.folder, judging=Judging(refuse=False))["release"]
    shop.write("privileged: true", EXCEPTION)
    assert load_stack(shop.folder, None, "debian", shop.folder, judging=Judging(today=TODAY))["release"] == before


ENVIRONMENTS = [
    (file.parent.name, file.name.split(".")[1] if file.name != "compose.yml" else None)
    for file in sorted(STACKS.glob("*/compose*.yml"))
]
LOKI = ("loki", "health-check", "warn")  # its image has no program that could ask


@pytest.mark.parametrize(("name", "environment"), ENVIRONMENTS)
def test_the_stacks_that_come_with_the_collection_keep_the_rules(name: str, environment: str | None) -> None:
    stack = load_stack(STACKS / name, environment, "debian", RECIPES, judging=Judging(today=TODAY))
    assert told(stack["hardening"]) == ([LOKI] if (name, environment) == ("newscast", "prod") else [])


def test_the_schema_knows_every_rule() -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    known = schema["$defs"]["hardening"]["properties"]["rules"]["properties"]
    assert sorted(known) == sorted(rule.control.slug for rule in RULES)


def test_the_reference_says_of_every_rule_what_its_default_is() -> None:
    text = (ROOT / "docs" / "stack-file.md").read_text(encoding="utf-8")
    table = text.partition("| rule | CIS | default |")[2].partition("\n\n")[0]
    said = {}
    for line in table.splitlines()[2:]:
        names, numbers, default = (cell.strip() for cell in line.split("|")[1:4])
        pairs = zip(re.findall(r"`([a-z0-9-]+)`", names), numbers.split(", "), strict=True)
        said.update({name: (number, default) for name, number in pairs})
    mild = ContainerFacts("x")
    grave = ContainerFacts("x", cap_add=("ALL",), devices=("/dev/mem",))
    for rule in RULES:
        levels = list(dict.fromkeys([rule.level(grave), rule.level(mild)]))
        assert said.pop(rule.control.slug) == (rule.control.number, " or ".join(levels).replace("off", "none"))
    assert said == {}
