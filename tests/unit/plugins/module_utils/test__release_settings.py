# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_settings import (
    check_parameters,
    check_secrets,
    env_file,
    interpolate,
    make_settings,
    quote,
    read_env,
)

KEY, OTHER_KEY = "00" * 32, "11" * 32


@pytest.mark.parametrize(
    ("declaration", "given", "text"),
    [
        pytest.param({"type": "str"}, "a b", "a b", id="string"),
        pytest.param({"type": "str"}, 7, "7", id="number for a string"),
        pytest.param({"type": "str", "default": "x"}, None, "x", id="default"),
        pytest.param({"type": "str", "default": ""}, None, "", id="empty default"),
        pytest.param({"type": "int"}, -5, "-5", id="number"),
        pytest.param({"type": "int"}, "007", "7", id="number from the command line"),
        pytest.param({"type": "port"}, "8080", "8080", id="port from the command line"),
        pytest.param({"type": "bool"}, True, "true", id="bool"),
        pytest.param({"type": "bool"}, "Yes", "true", id="bool from the command line"),
        pytest.param({"type": "bool", "default": False}, None, "false", id="default of false"),
        pytest.param({"type": "path"}, "/srv/x", "/srv/x", id="path"),
        pytest.param({"type": "int", "choices": [1, 2]}, "2", "2", id="choice"),
    ],
)
def test_a_parameter_becomes_what_compose_gets(declaration: dict[str, t.Any], given: t.Any, text: str) -> None:
    assert check_parameters({"P": declaration}, {"P": given}) == {"P": text}


@pytest.mark.parametrize(
    ("declared", "given", "message"),
    [
        pytest.param({"PORT": {"type": "port"}}, {"PROT": 1}, "PROT: .* declared are: PORT", id="unknown"),
        pytest.param({}, {"P": 1}, "declared are: none", id="unknown, none declared"),
        pytest.param({"P": {"type": "str", "description": "why"}}, {}, r"P: it has no default .*\(why\)", id="missing"),
        pytest.param({"P": {"type": "str"}}, {"P": "a\nb"}, "on one line", id="line end"),
        pytest.param({"P": {"type": "str"}}, {"P": 1.5}, "quote it in YAML", id="fraction for a string"),
        pytest.param({"P": {"type": "str"}}, {"P": True}, "quote it in YAML", id="bool for a string"),
        pytest.param({"P": {"type": "int"}}, {"P": "1.5"}, "'1.5' .* a whole number", id="fraction"),
        pytest.param({"P": {"type": "int"}}, {"P": True}, "a whole number", id="bool for a number"),
        pytest.param({"P": {"type": "port"}}, {"P": 65536}, "from 1 to 65535", id="port too high"),
        pytest.param({"P": {"type": "bool"}}, {"P": "maybe"}, "true or false", id="neither"),
        pytest.param({"P": {"type": "path"}}, {"P": "srv"}, "an absolute path", id="relative path"),
        pytest.param({"P": {"type": "int", "choices": [1, 2]}}, {"P": 3}, "one of 1, 2", id="no choice"),
        pytest.param({"P": {"type": "float"}}, {"P": 3}, "bool, int, path, port, str", id="type"),
        pytest.param(
            {"COMPOSE_FILE": {"type": "str"}}, {"COMPOSE_FILE": "x"}, "no name for a parameter", id="reserved"
        ),
        pytest.param({"PATH": {"type": "str"}}, {"PATH": "x"}, "no name for a parameter", id="ours"),
        pytest.param({"A B": {"type": "str"}}, {"A B": "x"}, "no name for a parameter", id="no name"),
    ],
)
def test_a_parameter_that_is_wrong_is_named_with_what_is_allowed(
    declared: dict[str, t.Any], given: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(ReleaseError, match=message) as caught:
        check_parameters(declared, given)
    assert caught.value.reason == "parameter_invalid"


def test_secrets_are_taken_as_they_are() -> None:
    assert check_secrets(["key"], {"key": " señal\n"}) == {"key": " señal\n".encode()}


@pytest.mark.parametrize("value", ["", 123456, None, True])
def test_a_secret_that_is_wrong_is_named_and_never_shown(value: t.Any) -> None:
    with pytest.raises(ReleaseError, match="'key' must be a string") as caught:
        check_secrets(["key"], {"key": value})
    assert "123456" not in str(caught.value)


def test_a_secret_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ReleaseError, match="no secret 'kye'; declared are: key") as caught:
        check_secrets(["key"], {"kye": "x"})
    assert caught.value.reason == "secret_invalid"


def test_the_digest_changes_with_every_value_and_with_the_hosts_key() -> None:
    base = make_settings({"P": "1"}, {"key": b"a"}, KEY)
    assert base == make_settings({"P": "1"}, {"key": b"a"}, KEY)
    others = [
        make_settings({"P": "2"}, {"key": b"a"}, KEY),
        make_settings({"P": "1"}, {"key": b"b"}, KEY),
        make_settings({"P": "1"}, {}, KEY),
        make_settings({"P": "1"}, {"key": b"a"}, OTHER_KEY),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 5
    assert base.versions["key"] != others[1].versions["key"]
    assert base.versions == others[0].versions


def test_the_same_value_under_two_names_does_not_show() -> None:
    versions = make_settings({}, {"a": b"same", "b": b"same"}, KEY).versions
    assert versions["a"] != versions["b"]


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("", "''"),
        ("a b # c", "'a b # c'"),
        ("$HOME ${X} $$", "'$HOME ${X} $$'"),
        ('say "hi"', "'say \"hi\"'"),
        ("back\\slash", "'back\\slash'"),
        ("it's", '"it\'s"'),
        ("it's $HOME", '"it\'s \\$HOME"'),
        ("ends in \\", '"ends in \\\\"'),
        ("'\"\\", '"\'\\"\\\\"'),
    ],
)
def test_a_value_is_quoted_for_composes_env_files(value: str, quoted: str) -> None:
    assert quote(value) == quoted


def test_the_env_file_holds_the_parameters_and_where_secrets_are() -> None:
    assert env_file({"PORT": "80", "A": "x"}, "/etc/fleet/secrets/shop") == (
        b"A='x'\nFLEET_SECRETS='/etc/fleet/secrets/shop'\nPORT='80'\n"
    )


NASTY = [
    "",
    " leading and trailing ",
    "it's",
    "'quoted'",
    'say "hi"',
    "'\"\\",
    "back\\slash",
    "ends in \\",
    "ends in '\\",
    "\\\"\\'\\$",
    "$HOME ${X} $$",
    "it's $HOME",
    "a=b=c # d",
    "export X=1",
    "ñandú \u2603 \U0001f916",
    "two\u2028lines and\u2029 paragraphs\u0085next",
]


@pytest.mark.parametrize("value", NASTY)
def test_an_env_file_is_read_back_to_the_same_values(value: str) -> None:
    parameters = {"A": value, "PORT": "80"}
    read = read_env(env_file(parameters, "/etc/it's/$here").decode())
    assert read == {**parameters, "FLEET_SECRETS": "/etc/it's/$here"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("http://x:${PORT}/$NAME", "http://x:80/n"),
        ("${PORT:-1} ${PORT-1} ${EMPTY:-1} ${EMPTY-1} ${NONE:-1} ${NONE-1}", "80 80 1  1 1"),
        ("${PORT:+yes} ${EMPTY:+yes} ${EMPTY+yes} ${NONE+yes}", "yes  yes "),
        ("${NONE} $$PORT ${PORT:?must}", " $PORT 80"),
    ],
)
def test_parameters_are_put_into_urls_as_compose_would(text: str, result: str) -> None:
    assert interpolate(text, {"PORT": "80", "NAME": "n", "EMPTY": ""}) == result
