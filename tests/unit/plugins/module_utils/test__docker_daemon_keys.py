# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_keys import (
    KEYS,
    KINDS,
    checks_itself,
    flag_of,
    flags_in,
    known,
)


def test_each_key_is_named_as_it_is_filed_and_is_of_a_known_kind() -> None:
    assert all(name == key.name and key.kind in KINDS for name, key in KEYS.items())
    assert list(KEYS) == sorted(KEYS)


def test_no_two_keys_are_the_same_flag() -> None:
    flags = [flag for key in KEYS.values() for flag in (key.flag, key.short) if flag]
    assert sorted(set(flags)) == sorted(flags)


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        pytest.param(["-H", "fd://"], {"H"}, id="a letter and its value"),
        pytest.param(["-Hfd://", "-D"], {"H", "D"}, id="a letter with its value"),
        pytest.param(["-DHfd://", "-D=true"], {"H", "D"}, id="two letters in a word"),
        pytest.param(["--label=a=b", "--icc=false", "--debug"], {"label", "icc", "debug"}, id="long ones"),
        pytest.param(["--host", "fd://", "-"], {"host"}, id="a value alone"),
        pytest.param(["--ip-forward-no-drop", "--debug"], {"ip-forward-no-drop", "debug"}, id="a switch and a flag"),
        pytest.param(["--what-is-new", "-D"], {"what-is-new", "D"}, id="an unknown switch and a letter"),
    ],
)
def test_flags_are_found_by_name(arguments: list[str], flags: set[str]) -> None:
    assert flags_in(arguments) == flags


@pytest.mark.parametrize(
    ("name", "flag"),
    [("hosts", ("host", "H")), ("debug", ("debug", "D")), ("log-opts", ("log-opt", "")), ("new", ("new", ""))],
)
def test_a_key_has_the_flag_that_says_the_same(name: str, flag: tuple[str, str]) -> None:
    assert flag_of(name) == flag


def test_older_engines_know_fewer_keys_and_cannot_be_asked() -> None:
    assert "proxies" in known((26, 1))
    assert "proxies" not in known((20, 10))
    switches = {"ip-forward-no-drop", "allow-direct-routing"}
    assert (switches & set(known((28, 2))), switches & set(known((27, 5)))) == (switches, set())
    assert not checks_itself((20, 10))
    assert checks_itself((23, 0))
