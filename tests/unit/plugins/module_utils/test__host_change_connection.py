# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_connection import connection, parse_stat

REST = "0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0"
# By number: name, parent, start. 10 listens; 20 and 30 serve a connection each, and 40 to 42 run on the first of them.
TREE = {
    1: ("systemd", 0, 1),
    10: ("sshd", 1, 100),
    19: ("sshd-session", 10, 199),
    20: ("sshd-session", 19, 200),
    30: ("sshd", 10, 300),
    40: ("sudo", 20, 400),
    41: ("sh (odd) name", 40, 410),
    42: ("python3", 41, 420),
    43: ("python3", 30, 430),
    50: ("containerd-shim", 1, 500),
    51: ("python3", 50, 510),
    60: ("dropbear", 1, 600),
    61: ("dropbear", 60, 610),
    62: ("python3", 61, 620),
    70: ("python3", 71, 700),
}


def stat_of(pid: int) -> str:
    if pid not in TREE:
        raise FileNotFoundError(pid)
    name, parent, start = TREE[pid]
    return f"{pid} ({name}) S {parent} {REST} {start} 0 0\n"


def test_a_name_may_hold_brackets_and_blanks() -> None:
    assert parse_stat(stat_of(41)) == ("sh (odd) name", 40, "410")


@pytest.mark.parametrize(
    ("pid", "named"),
    [
        (42, "sshd-session 20 200"),
        (43, "sshd 30 300"),
        (62, "dropbear 61 610"),
        (51, ""),  # a console, or no session at all
        (70, ""),  # a parent that has ended
        (1, ""),
    ],
)
def test_the_nearest_server_names_the_connection(pid: int, named: str) -> None:
    assert connection(pid, stat_of) == named
