# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t
from dataclasses import replace

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_policy import Setting
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_containers import CONTAINER_CONTROLS
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Row
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import EngineFacts, Found
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_images import IMAGE_CONTROLS
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_judge import (
    CONTROLS,
    judge,
    judge_compose,
    read_rules,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.tests.unit.plugins._found import (
    good,
    good_host,
    with_engine,
    with_host,
    with_info,
)

TODAY = datetime.date(2026, 12, 1)
TOMORROW = TODAY + datetime.timedelta(days=1)
YESTERDAY = TODAY - datetime.timedelta(days=1)
# Sections and how many controls each has in 1.6.0.
NUMBERS = {1: 20, 2: 18, 3: 24, 4: 12, 5: 32, 6: 2, 7: 9}


def excused(until: datetime.date = TOMORROW, *paths: str) -> Setting:
    return Setting("ignore", "it must", until, paths)


def row(found: Found, slug: str, **policy: Setting) -> Row:
    """The row of the host for a control, under settings by slug with `_` for `-`."""
    settings = {name.replace("_", "-"): setting for name, setting in policy.items()}
    return next(row for row in judge(found, settings, TODAY) if row.control.slug == slug)


def test_there_are_all_controls_each_once_and_in_order() -> None:
    assert {section: sum(one.section == section for one in CONTROLS) for section in NUMBERS} == NUMBERS
    assert len({one.slug for one in CONTROLS}) == len({one.number for one in CONTROLS}) == 117
    assert [one.order for one in CONTROLS] == sorted(one.order for one in CONTROLS)
    parts = [*(f"1.1.{n}" for n in range(1, 19)), "1.2.1", "1.2.2"]
    assert [one.number for one in CONTROLS if one.section == 1] == parts
    for section in (2, 3, 4, 5, 6, 7):
        expected = [f"{section}.{number}" for number in range(1, NUMBERS[section] + 1)]
        assert [one.number for one in CONTROLS if one.section == section] == expected


def test_every_control_says_why_where_it_is_not_enforced_and_only_there() -> None:
    for control in CONTROLS:
        assert bool(control.why) is (control.kind != "enforced"), control.slug
        assert control.title, control.slug
        assert control.way_out, control.slug
        assert not control.way_out.endswith("."), control.slug


@pytest.mark.parametrize(
    "found",
    [good(), with_engine(problem="the engine hangs"), with_engine(containers=()), Found(good_host(), EngineFacts())],
    ids=["good", "no engine", "no containers", "nothing known"],
)
def test_every_control_has_a_row_whatever_was_found(found: Found) -> None:
    assert {one.control.slug for one in judge(found, {}, TODAY)} == {one.slug for one in CONTROLS}


@pytest.mark.parametrize(
    "engine",
    [
        EngineFacts(options_problem="no process"),
        EngineFacts(problem="the engine hangs", options_problem="no process"),
        EngineFacts(info={"name": "another engine"}, options_problem="no process"),
    ],
    ids=["empty", "away", "another"],
)
def test_of_an_engine_that_nobody_knows_nothing_passes(engine: EngineFacts) -> None:
    rows = [one for one in judge(Found(good_host(), engine), {}, TODAY) if one.control.section in (2, 4, 5, 6, 7)]
    assert {one.status for one in rows} == {"fail"}
    assert all(one.evidence[0].startswith("not known: ") for one in rows)


def test_a_violation_of_what_is_enforced_fails_and_of_what_is_not_is_an_exception_with_its_reason() -> None:
    found = with_info(LiveRestoreEnabled=False, LoggingDriver="json-file", SecurityOptions=["name=seccomp"])
    assert row(found, "live-restore").status == "fail"
    recorded = row(found, "central-logs")
    assert (recorded.status, recorded.until) == ("exception", "")
    assert recorded.reason == recorded.control.why
    opt_in = row(found, "rootless")
    assert opt_in.status == "exception"
    assert opt_in.reason.startswith("an opt-in, for what it costs: no AppArmor")


def test_what_is_not_known_fails_even_where_the_control_is_only_recorded() -> None:
    one = row(with_engine(problem="the engine hangs"), "central-logs")
    assert (one.status, one.evidence) == ("fail", ("not known: the engine hangs",))


def test_a_policy_can_want_what_is_only_recorded() -> None:
    one = row(with_info(LoggingDriver="local"), "central-logs", central_logs=Setting("fail"))
    assert (one.status, one.level) == ("fail", "fail")


def test_a_policy_can_warn() -> None:
    one = row(with_info(LiveRestoreEnabled=False), "live-restore", live_restore=Setting("warn"))
    assert (one.status, one.level) == ("fail", "warn")


@pytest.mark.parametrize(
    ("setting", "status", "evidence", "reason"),
    [
        (excused(TOMORROW), "exception", 2, "it must"),
        (excused(TODAY), "exception", 2, "it must"),
        (excused(YESTERDAY), "fail", 2, "no longer excused: 2026-11-30 has passed"),
        (excused(TOMORROW, "guest *"), "fail", 1, "the rest is excused: it must"),
        (excused(TOMORROW, "guest is in group docker"), "fail", 1, "the rest is excused: it must"),
        (excused(TOMORROW, "nobody*"), "fail", 2, ""),
        (excused(TOMORROW, "host"), "exception", 2, "it must"),
    ],
)
def test_an_excuse_has_an_end_and_may_be_narrow(setting: Setting, status: str, evidence: int, reason: str) -> None:
    found = with_host(socket_users={"docker": ("guest", "other")})
    one = row(found, "trusted-users", trusted_users=setting)
    assert (one.status, len(one.evidence), one.reason) == (status, evidence, reason)


def test_what_passes_or_does_not_apply_stays_so_whatever_the_policy_says() -> None:
    assert row(good(), "live-restore", live_restore=excused()).status == "pass"
    assert row(good(), "swarm-networks", swarm_networks=Setting("fail")).status == "not applicable"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"no-such": {"level": "fail"}}, "unknown rule 'no-such'"),
        ({"live-restore": {"level": "ignore"}}, "needs a reason, and until"),
        ({"live-restore": {"level": "ignore", "reason": "so", "until": "soon"}}, "must be a date"),
        ({"live-restore": "fail"}, "allowed: fail, warn, ignore"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(rules: dict[str, t.Any], message: str) -> None:
    with pytest.raises(HostError, match=message) as caught:
        read_rules(rules)
    assert caught.value.reason == "rules_invalid"


def running(**host: t.Any) -> Found:
    container = {
        "Id": "c1",
        "Name": "/api",
        "Image": "sha256:aa",
        "State": {"Status": "running", "Pid": 7},
        "Config": {"Image": "shop/api:1"},
        "HostConfig": host,
    }
    image = ({"Id": "sha256:aa", "RepoTags": ["shop/api:1"], "Config": {"User": "app"}}, ("COPY . /",))
    engine = replace(good().engine, containers=(container,), commands={"c1": ("/usr/sbin/sshd -D",)}, used=(image,))
    return Found(good_host(), engine)


def test_a_container_and_its_image_have_rows_of_their_own() -> None:
    rows = judge(running(Privileged=True), {}, TODAY)
    of_container = {one.control.slug: one for one in rows if one.subject == "api"}
    assert {control.slug for control in CONTAINER_CONTROLS} <= set(of_container)
    assert (of_container["privileged"].status, of_container["privileged"].level) == ("fail", "fail")
    assert (of_container["memory-limit"].status, of_container["memory-limit"].level) == ("fail", "warn")
    assert of_container["ssh-server"].status == "fail"
    of_image = {one.control.slug: one for one in rows if one.subject == "shop/api:1"}
    assert set(of_image) == {control.slug for control in IMAGE_CONTROLS}
    assert of_image["image-user"].status == "pass"


def test_a_container_that_keeps_failing_has_rows_between_two_starts() -> None:
    found = running(Privileged=True)
    (one,) = found.engine.containers
    restarting = {**one, "State": {"Status": "restarting", "Restarting": True, "Running": True, "Pid": 0}}
    engine = replace(found.engine, containers=(restarting,), commands={})
    of_container = {
        row.control.slug: row.status for row in judge(Found(found.host, engine), {}, TODAY) if row.subject == "api"
    }
    assert of_container["privileged"] == "fail"
    assert of_container["ssh-server"] == "fail"


NEVER_SEEN = {
    *("image-packages", "image-vulnerabilities", "content-trust", "image-setuid", "image-signatures"),
    *("needed-ports", "exec-privileged", "exec-root"),
}


def test_what_no_audit_of_a_host_looks_at_is_an_exception_that_says_so_and_no_pass() -> None:
    rows = [one for one in judge(running(), {}, TODAY) if one.evidence and one.evidence[0].startswith("nobody looked")]
    assert {one.control.slug for one in rows} == NEVER_SEEN
    assert {one.status for one in rows} == {"exception"}
    assert all(one.control.why in one.reason for one in rows)
    wanted = judge(running(), {"needed-ports": Setting("fail")}, TODAY)
    assert [one.status for one in wanted if one.control.slug == "needed-ports"] == ["fail"]


def test_an_excuse_may_name_containers() -> None:
    policy = {"privileged": excused(TOMORROW, "a*")}
    rows = [one for one in judge(running(Privileged=True), policy, TODAY) if one.control.slug == "privileged"]
    assert [(one.subject, one.status) for one in rows] == [("api", "exception")]


def test_images_that_could_not_be_asked_for_are_not_known() -> None:
    found = running()
    found = Found(found.host, replace(found.engine, used=(), used_problem="no answer"))
    rows = {one.control.slug: one for one in judge(found, {}, TODAY) if one.subject == "host"}
    assert {rows[control.slug].status for control in IMAGE_CONTROLS} == {"fail"}


def test_a_compose_document_is_judged_by_service() -> None:
    document = {"services": {"api": {"image": "a:1", "privileged": True}, "db": {"image": "b:1", "mem_limit": "1g"}}}
    rows = judge_compose(document, {"memory-limit": Setting("fail")}, TODAY)
    told = {(one.subject, one.control.slug): (one.status, one.level) for one in rows}
    assert told["api", "privileged"] == ("fail", "fail")
    assert told["db", "privileged"][0] == "pass"
    assert told["api", "memory-limit"] == ("fail", "fail")
    assert told["db", "memory-limit"][0] == "pass"
    with pytest.raises(HostError, match="this is no Compose document"):
        judge_compose({"service": {}}, {}, TODAY)


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"services": {"web": {"privileged": "${P:-true}"}}}, "services.web.privileged"),
        ({"services": {"web": {"network_mode": "$N"}}}, "services.web.network_mode"),
        ({"services": {"web": {"volumes": ["${D:-/var/run/docker.sock}:/s"]}}}, "services.web.volumes"),
        (
            {"services": {"web": {"volumes": [{"type": "bind", "source": "$$$E", "target": "/x"}]}}},
            "services.web.volumes",
        ),
        ({"services": {"web": {"deploy": {"resources": {"limits": {"memory": "${M}"}}}}}}, "services.web.deploy"),
        ({"services": {"web": {"cpu_shares": "${C}"}}}, "services.web.cpu_shares"),
        ({"services": {"web": {"use_api_socket": "${S}"}}}, "services.web.use_api_socket"),
        ({"services": {"web": {"gpus": "${G}"}}}, "services.web.gpus"),
        ({"services": {"web": {"extends": {"file": "other.yml", "service": "web"}}}}, "services.web.extends"),
        ({"services": {"web": {"extends": "db"}}}, "services.web.extends"),
        ({"services": {"web": {"volumes": ["./../../etc:/x"]}}}, "services.web: ../../etc:/x"),
        ({"include": ["other.yml"]}, "include"),
        ({"volumes": {"data": {"driver_opts": {"o": "bind", "device": "${D}"}}}}, "volumes.data.driver_opts"),
        ({"secrets": {"key": {"file": "${F}"}}}, "secrets.key.file"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_compose_document_that_compose_has_not_rendered_is_refused(more: dict[str, t.Any], place: str) -> None:
    with pytest.raises(HostError) as caught:
        judge_compose({"services": {"web": {"image": "a:1"}}, **more}, {}, TODAY)
    assert f"({place})" in str(caught.value)
    assert "`docker compose config --format json`" in str(caught.value)
    assert caught.value.reason == "compose_invalid"


def test_a_dollar_that_compose_has_escaped_and_one_where_no_rule_looks_are_no_variables() -> None:
    service = {"image": "a:1", "command": ["sh", "-c", "echo $$HOME"], "environment": {"X": "${X}"}, "privileged": True}
    rows = judge_compose({"services": {"web": service}}, {}, TODAY)
    assert [one.control.slug for one in rows if one.status == "fail" and one.level == "fail"] == ["privileged"]


def mounting(**engine: t.Any) -> dict[str, Row]:
    """The rows of a container with a volume."""
    found = running()
    (one,) = found.engine.containers
    volume = {"Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data", "Destination": "/d"}
    changed = replace(found.engine, containers=({**one, "Mounts": [volume]},), **engine)
    return {row.control.slug: row for row in judge(Found(found.host, changed), {}, TODAY) if row.subject == "api"}


def test_a_volume_that_is_a_path_of_the_host_is_held_against_its_container() -> None:
    assert mounting(volumes={"data": {}})["host-paths"].status == "pass"
    for path in ("/", "/run"):
        rows = mounting(volumes={"data": {"o": "bind", "device": path}})
        assert (rows["host-paths"].status, rows["host-paths"].evidence) == ("fail", (f"{path}:/d",))
    rows = mounting(volumes={"data": {"o": "bind", "device": "/run/docker.sock"}})
    assert rows["docker-socket-mounted"].status == "fail"


def test_a_volume_that_could_not_be_asked_for_makes_no_pass() -> None:
    rows = mounting(volumes_problem="it broke")
    for slug in ("host-paths", "docker-socket-mounted"):
        assert rows[slug].status == "fail"
        assert rows[slug].evidence == ("not known: what is behind volume data: it broke",)
