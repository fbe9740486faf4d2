# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, Published
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_ports import (
    Bound,
    container_on,
    holder,
    parse_bound,
    try_port,
)

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
"""
TCP6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue tr
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4713 1
   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4714 1
"""


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        pytest.param(TCP, [Bound("127.0.0.1", 8080, "4711")], id="listening, IPv4"),
        pytest.param(TCP6, [Bound("::", 80, "4713"), Bound("127.0.0.1", 81, "4714")], id="IPv6, mapped IPv4"),
        pytest.param("", [], id="no such table"),
    ],
)
def test_listening_sockets_are_read(text: str, bound: list[Bound]) -> None:
    assert parse_bound(text, "0A") == bound


@pytest.mark.parametrize(
    ("published", "wanted", "leads"),
    [
        pytest.param("127.0.0.1", "127.0.0.1", True, id="same address"),
        pytest.param("0.0.0.0", "127.0.0.1", True, id="published on every one"),
        pytest.param("127.0.0.1", "", True, id="wanted on every one"),
        pytest.param("::", "", True, id="every one, IPv6"),
        pytest.param("10.0.0.1", "127.0.0.1", False, id="another address"),
    ],
)
def test_a_container_holds_the_addresses_that_it_is_published_on(published: str, wanted: str, leads: bool) -> None:
    container = Container("c", "shop-web-1", published=(Published(published, 8080, "tcp"),))
    assert (container_on(wanted, 8080, "tcp", [container]) is container) is leads
    assert container_on(wanted, 8080, "udp", [container]) is None
    assert container_on(wanted, 8081, "tcp", [container]) is None


def test_a_port_is_free_taken_or_on_no_address_of_this_host() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert try_port("127.0.0.1", port, "tcp") == "taken"
        assert try_port("", port, "tcp") == "taken"
        assert holder("127.0.0.1", port, "tcp").endswith(f"(pid {os.getpid()})")
    assert try_port("127.0.0.1", port, "tcp") == "free"
    assert try_port("192.0.2.1", port, "tcp") == "no_address"


def test_a_udp_port_is_taken_by_whoever_bound_it() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert try_port("127.0.0.1", port, "udp") == "taken"
        assert holder("", port, "udp").endswith(f"(pid {os.getpid()})")


def test_a_holder_that_may_not_be_looked_at_stays_unnamed(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(TCP)
    (tmp_path / "17").mkdir()
    assert holder("127.0.0.1", 8080, "tcp", str(tmp_path)) == "a process that cannot be named"
