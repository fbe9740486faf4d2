# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_stats import (
    Server,
    Worker,
    complaints,
    parse_description,
    parse_sessions,
    parse_stats,
    parse_value,
    parse_workers,
    reloaded,
)

# As HAProxy 3.0.11 answers, with the columns that are not read left out.
PROC = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
1               master          1 [failed: 0]   0d00h00m03s     3.0.11-1+deb13u5
# workers
19              worker          0               0d00h00m01s     3.0.11-1+deb13u5
# old workers
8               worker          1               0d00h00m03s     3.0.11-1+deb13u5
# programs

"""
STAT = """\
# pxname,svname,scur,status,check_status
http,FRONTEND,4,OPEN,
no-route,BACKEND,0,UP,
blue-api-8000,s1,2,UP,L4OK
blue-api-8000,s2,1,DOWN,L4CON
blue-api-8000,BACKEND,3,UP,
blue-db-1-tcp,s1,0,MAINT (resolution),
blue-db-1-tcp,BACKEND,0,DOWN,
green-api-8000,s1,0,UP,

"""
SESS = """\
0x7fe05a855c00: proto=tcpv4 src=192.168.48.1:57864 fe=http be=blue-api-8000 srv=s1 ts=00 epoch=0 age=1s
0x7fe05a855d00: proto=tcpv4 src=192.168.48.1:57866 fe=http be=green-api-8000 srv=s1 ts=00 epoch=0 age=1s
0x7fe05a856400: proto=sockpair src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=00 epoch=0x1 age=0s

"""
REFUSED = """\
[NOTICE]   (30) : haproxy version is 3.0.11-1+deb13u5
[ALERT]    (30) : config : parsing [/etc/haproxy/haproxy.cfg.candidate:67]: bad name at position 51:
  http-request replace-path x
                            ^
[ALERT]    (30) : config : Fatal errors found in configuration.
"""


def test_workers_are_told_from_old_ones() -> None:
    assert parse_workers(PROC) == [Worker(19, old=False), Worker(8, old=True)]
    assert parse_workers("") == []


def test_sessions_are_counted_by_colour_and_clients_by_frontend() -> None:
    stats = parse_stats(STAT)
    assert (stats.sessions("blue"), stats.sessions("green"), stats.clients) == (3, 0, {"http": 4})
    assert [server.name for server in stats.of("blue")] == ["s1", "s2", "s1"]


def test_a_backend_is_up_when_a_check_of_one_server_passed() -> None:
    stats = parse_stats(STAT)
    assert list(stats.not_up("blue")) == ["blue-db-1-tcp"]
    assert list(stats.not_up("green")) == ["green-api-8000"]  # says UP, and was never looked at


UP = [
    pytest.param("UP", "L4OK", True, id="TCP"),
    pytest.param("UP", "L7OK", True, id="HTTP"),
    pytest.param("UP 1/2", "* L4OK", True, id="failing once, being looked at"),
    pytest.param("UP", "", False, id="not looked at yet"),
    pytest.param("UP", "INI", False, id="being looked at for the first time"),
    pytest.param("DOWN", "L4CON", False, id="refused"),
    pytest.param("MAINT (resolution)", "L4OK", False, id="its name has gone"),
]


@pytest.mark.parametrize(("status", "check", "up"), UP)
def test_a_server_is_up_when_it_says_so_and_was_looked_at(status: str, check: str, up: bool) -> None:
    assert Server("b", "s", status, check, 0).up is up


def test_what_is_under_way_is_found_by_colour() -> None:
    assert parse_sessions(SESS, "blue") == ["0x7fe05a855c00"]
    assert parse_sessions("", "blue") == []


def test_answers_of_one_line_are_read() -> None:
    found = 'type=str, case=sensitive, found=yes, idx=tree, key="live", value="green", type="str"\n'
    assert parse_value(found) == "green"
    assert parse_value("type=str, case=sensitive, found=no\n") is None
    assert parse_description("Name: HAProxy\nDescription: 0123\n") == "0123"
    assert parse_description("Name: HAProxy\n") == ""
    assert [reloaded("Success=1\n--\n"), reloaded("Success=0\n--\n[ALERT]"), reloaded("")] == [True, False, False]


def test_only_what_haproxy_complains_of_is_shown() -> None:
    text = complaints(REFUSED)
    assert text.startswith("config : parsing [/etc/haproxy/haproxy.cfg.candidate:67]: bad name at position 51:")
    assert text.endswith("; config : Fatal errors found in configuration.")
    assert complaints("killed\n") == "killed"
