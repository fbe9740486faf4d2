# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon import (
    Container,
    Draft,
    Effect,
    Plan,
    Step,
    Wanted,
    draft,
    draft_of,
    effect_of,
    gently,
    has_credentials,
    make_plan,
    merge,
    read_document,
    reverse,
    shown,
    stale,
    taken_text,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

PATH = "/etc/docker/daemon.json"
Options = dict[str, t.Any]


def wanted(*remove: str, **options: t.Any) -> Wanted:
    return Wanted(PATH, {name.replace("_", "-"): value for name, value in options.items()}, remove)


def changed(before: Options, after: Options) -> Draft:
    return draft_of(json.dumps(before), json.dumps(after), PATH)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('{"a": 1,}', "line 1, column", id="a comma too many"),
        pytest.param('{\n  "a": 1\n  "b": 2\n}', "line 3, column 3", id="a comma too few"),
        pytest.param("[]", "holds a list", id="a list"),
        pytest.param('{"a": NaN}', "NaN is not a number", id="no number"),
        pytest.param('{"a": 1', "line 1", id="cut short"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_place(text: str, says: str) -> None:
    with pytest.raises(HostError) as caught:
        read_document(text, PATH)
    assert caught.value.reason == "file_invalid"
    assert says in str(caught.value)
    assert PATH in str(caught.value)


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_no_file_and_an_empty_one_hold_nothing(text: str | None) -> None:
    assert read_document(text, PATH) == {}


@pytest.mark.parametrize(
    ("there", "asked", "after"),
    [
        pytest.param({"a": 1}, wanted(debug=True), {"a": 1, "debug": True}, id="foreign keys stay"),
        pytest.param(
            {"log-opts": {"labels": "x", "max-size": "1m"}},
            wanted(log_opts={"max-size": "9m"}),
            {"log-opts": {"labels": "x", "max-size": "9m"}},
            id="dictionaries are merged",
        ),
        pytest.param({"dns": ["1.1.1.1"]}, wanted(dns=["9.9.9.9"]), {"dns": ["9.9.9.9"]}, id="lists are replaced"),
        pytest.param({"a": 1, "b": 2}, wanted("a", "c"), {"b": 2}, id="removed"),
        pytest.param(
            {"log-opts": {"a": "1", "b": "2"}}, wanted("log-opts.a"), {"log-opts": {"b": "2"}}, id="removed in one"
        ),
        pytest.param({"log-opts": {"a": "1"}, "c": 1}, wanted("log-opts.a"), {"c": 1}, id="an empty one goes"),
        pytest.param(
            {"log-driver": "journald", "log-opts": {"tag": "x"}},
            wanted(log_driver="local", log_opts={"max-size": "1m"}),
            {"log-driver": "local", "log-opts": {"max-size": "1m"}},
            id="another driver has its own options",
        ),
        pytest.param(
            {"log-opts": {"max-file": "3"}},
            wanted(log_driver="json-file"),
            {"log-opts": {"max-file": "3"}, "log-driver": "json-file"},
            id="the default driver is no other one",
        ),
    ],
)
def test_what_is_wanted_is_merged_into_what_is_there(there: Options, asked: Wanted, after: Options) -> None:
    kept = json.dumps(there)
    assert merge(there, asked) == after
    assert json.dumps(there) == kept


def test_a_file_that_holds_what_is_wanted_is_left_as_it_is_written() -> None:
    text = '{"debug":true ,  "labels":[]}'
    made = draft(text, wanted(debug=True))
    assert (made.text, made.changed) == (text, ())
    assert draft(None, wanted()).text is None


def test_a_draft_keeps_the_order_and_is_read_again_as_it_is_meant() -> None:
    made = draft('{"z": 1, "a": "ñ"}', wanted("z", debug=True))
    assert made.changed == ("debug", "z")
    assert made.removed == {"z"}
    assert made.text == '{\n  "a": "ñ",\n  "debug": true\n}\n'


def test_true_and_1_are_not_the_same_to_an_engine() -> None:
    assert draft('{"debug": 1}', wanted(debug=True)).changed == ("debug",)


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        pytest.param({}, {"debug": True, "labels": ["a=b"]}, Effect(("debug", "labels")), id="reloaded"),
        pytest.param({"debug": True}, {}, Effect((), ("debug",)), id="a key that goes is not unset by a reload"),
        pytest.param({}, {"no-new-privileges": True}, Effect((), ("no-new-privileges",)), id="restarted"),
        pytest.param({}, {"icc": False}, Effect((), ("icc",), ("icc",)), id="of the default bridge"),
        pytest.param({}, {"what-is-new": 1}, Effect((), ("what-is-new",)), id="unknown"),
        pytest.param({}, {"features": {"cdi": True}}, Effect((), ("features",)), id="a feature"),
        pytest.param({}, {}, Effect(), id="nothing"),
    ],
)
def test_a_change_takes_effect_by_a_reload_or_a_restart(before: Options, after: Options, effect: Effect) -> None:
    assert effect_of(changed(before, after)) == effect


def test_the_way_back_from_a_reload_may_need_a_restart() -> None:
    assert effect_of(reverse(changed({}, {"debug": True}))).restart == ("debug",)
    assert effect_of(reverse(changed({"debug": False}, {"debug": True}))).reload == ("debug",)


RELOAD, RESTART = Effect(("debug",)), Effect(("debug",), ("icc", "init"), ("icc",))


@pytest.mark.parametrize(
    ("effect", "pending", "runs", "restart", "alive", "plan"),
    [
        pytest.param(Effect(), (), True, True, True, Plan("none"), id="nothing"),
        pytest.param(RESTART, (), False, True, True, Plan("none"), id="no engine"),
        pytest.param(RELOAD, (), True, False, True, Plan("reload"), id="reload"),
        pytest.param(RESTART, (), True, False, True, Plan("reload", ("icc", "init")), id="no leave to restart"),
        pytest.param(Effect((), ("init",)), (), True, False, True, Plan("none", ("init",)), id="nothing to reload"),
        pytest.param(RESTART, (), True, True, False, Plan("restart"), id="restart"),
        pytest.param(RESTART, (), True, True, True, Plan("restart", ("icc",)), id="the bridge waits"),
        pytest.param(Effect(), ("init",), True, True, True, Plan("restart"), id="what an earlier run wrote"),
        pytest.param(Effect(), ("init",), True, False, True, Plan("none", ("init",)), id="and still waits"),
        pytest.param(Effect(), ("icc",), True, True, True, Plan("none", ("icc",)), id="a restart would not help"),
        pytest.param(Effect(), ("icc",), True, True, False, Plan("restart"), id="now it does"),
    ],
)
def test_an_engine_is_restarted_only_with_leave_and_only_where_it_helps(
    effect: Effect, pending: tuple[str, ...], runs: bool, restart: bool, alive: bool, plan: Plan
) -> None:
    assert make_plan(effect, pending, engine_runs=runs, restart=restart, kept_alive=alive) == plan


ON, OFF = {"live-restore": True}, {"live-restore": False}


@pytest.mark.parametrize(
    ("before", "after", "live", "steps", "last"),
    [
        pytest.param({}, {**ON, "init": True}, False, [Step(ON, "reload")], "restart", id="switched on first"),
        pytest.param(ON, {**ON, "init": True}, True, [], "restart", id="it is on"),
        pytest.param(ON, {**ON, "init": True}, False, [Step(ON, "reload")], "restart", id="on in the file alone"),
        pytest.param({}, {**ON, "init": True}, True, [Step(ON, "reload")], "restart", id="on in the engine alone"),
        pytest.param(
            ON,
            {**OFF, "init": True},
            True,
            [Step({**ON, "init": True}, "restart")],
            "reload",
            id="switched off afterwards",
        ),
        pytest.param(
            ON,
            {"init": True},
            True,
            [Step({"init": True, **ON}, "restart"), Step({"init": True, **OFF}, "reload")],
            "none",
            id="taken away afterwards",
        ),
    ],
)
def test_live_restore_comes_first_and_goes_last(
    before: Options, after: Options, live: bool, steps: list[Step], last: str
) -> None:
    made = changed(before, after)
    assert gently(made, live_now=live, startable=lambda _document: True) == (steps, last)


@pytest.mark.parametrize(
    ("before", "live", "first"),
    [
        pytest.param({"oops": 1, "debug": True}, False, {"debug": True, **ON}, id="what both files have"),
        pytest.param({"oops": 1, "debug": True, **ON}, True, {"debug": True, **ON}, id="and where it is on"),
        pytest.param({"oops": 1, "debug": True, "a": "b"}, False, {"debug": True, **ON, "a": "c"}, id="the new file"),
    ],
)
def test_a_file_that_the_engine_does_not_take_comes_neither_first_nor_back(
    before: Options, live: bool, first: Options
) -> None:
    def startable(document: t.Mapping[str, t.Any]) -> bool:
        return "oops" not in document and ("a" not in before or document.get("a") == "c")

    after = {**{name: value for name, value in before.items() if name != "oops"}, **ON}
    made = changed(before, {**after, "a": "c"} if "a" in before else after)
    steps, last = gently(made, live_now=live, startable=startable)
    assert (steps, last) == ([Step(first, "reload")], "restart")


@pytest.mark.parametrize(
    ("known", "after", "pending", "taken"),
    [
        pytest.param('{"a":1}', {"a": 1, "init": True}, ["init"], '{"a":1}', id="nothing was taken"),
        pytest.param(None, {"init": True}, ["init"], None, id="there was no file"),
        pytest.param(None, {"init": True, "debug": True}, ["init"], '{\n  "debug": true\n}\n', id="what was reloaded"),
        pytest.param('{"init":false}', {"init": True}, ["init"], '{"init":false}', id="another value waits"),
    ],
)
def test_what_an_engine_runs_with_is_the_file_without_what_waits(
    known: str | None, after: Options, pending: list[str], taken: str | None
) -> None:
    made = draft_of(known, json.dumps(after), PATH)
    assert taken_text(known, made, pending, PATH) == taken


def container(name: str, driver: str = "json-file", **options: str) -> Container:
    return Container(
        name, True, log_driver=driver, log_options={key.replace("_", "-"): v for key, v in options.items()}
    )


@pytest.mark.parametrize(
    ("document", "names"),
    [
        pytest.param({}, [], id="no limit, none is older than it"),
        pytest.param({"log-opts": {"max-size": "1m"}}, ["endless"], id="json-file with a limit"),
        pytest.param({"log-driver": "local"}, ["endless"], id="a driver with a limit of its own"),
        pytest.param(
            {"log-driver": "local", "log-opts": {"max-file": "3"}}, ["endless", "local"], id="an option of it"
        ),
        pytest.param({"log-opts": {"labels": "a"}}, ["endless", "limited"], id="any option"),
    ],
)
def test_containers_older_than_the_log_options_are_named(document: Options, names: list[str]) -> None:
    there = [
        container("limited", max_size="5m"),
        container("endless"),
        container("local", "local"),
        container("j", "journald"),
    ]
    assert stale(document, there) == names


def test_passwords_in_urls_are_not_shown() -> None:
    text = '{"proxies": {"http-proxy": "http://me:secret@proxy:3128", "no-proxy": "a@b"}}'
    assert has_credentials(text)
    assert shown(text) == text.replace("me:secret", "********")
    assert not has_credentials('{"registry-mirrors": ["https://mirror.example/x@sha256"]}')


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param('{"splunk-token": "a\\"b"}', '{"splunk-token": "********"}', id="a token with a quote"),
        pytest.param('{"PASSWORD":"x", "tag": "y"}', '{"PASSWORD":"********", "tag": "y"}', id="capitals"),
        pytest.param('{"client-secret-id" : 12}', '{"client-secret-id" : "********"}', id="a number"),
        pytest.param('{"gelf-key": "x"}', '{"gelf-key": "********"}', id="a key"),
        pytest.param('{"deprecated-key-path": "/k"}', '{"deprecated-key-path": "/k"}', id="where a key is"),
        pytest.param('{"labels": ["token"], "a": "b"}', '{"labels": ["token"], "a": "b"}', id="a value"),
        pytest.param('{"token": "", "secret": true}', '{"token": "********", "secret": true}', id="a switch"),
    ],
)
def test_what_its_name_says_to_be_secret_is_not_shown(text: str, masked: str) -> None:
    assert shown(text) == masked
    assert has_credentials(text) == (text != masked)
