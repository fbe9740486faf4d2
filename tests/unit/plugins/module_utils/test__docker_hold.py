# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import Answer
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_hold import (
    Hold,
    Port,
    counted,
    published,
    ruleset,
    standing,
    standing_argv,
)


def running(ports: dict[str, t.Any], up: bool = True) -> dict[str, t.Any]:
    return {"State": {"Running": up}, "NetworkSettings": {"Ports": ports}}


def test_published_ports_of_running_containers_are_held() -> None:
    both = [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
    ports = {"8000/tcp": both, "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}], "9/tcp": None, "1/sctp": both}
    assert published([running(ports), running({"1/tcp": both}, up=False), running({})]) == (
        Port(53, "udp", "127.0.0.1"),
        Port(8080),
    )


def test_the_kernel_lets_go_of_each_port_by_itself() -> None:
    text = ruleset([Port(80), Port(53, "udp", "127.0.0.1"), Port(443, "tcp", "2001:db8::1")], 30)
    assert "elements = { tcp . 80 timeout 30s }" in text
    assert "elements = { 127.0.0.1 . udp . 53 timeout 30s }" in text
    assert "elements = { 2001:db8::1 . tcp . 443 timeout 30s }" in text
    assert text.count("flags timeout") == 3


def test_an_earlier_hold_is_replaced_in_one_go() -> None:
    lines = ruleset([Port(80)], 30).splitlines()
    assert lines[:2] == ["table inet fleet_hold", "delete table inet fleet_hold"]


def test_the_kernel_is_asked_for_the_connections_that_would_be_cut() -> None:
    ports = [Port(8080), Port(443, "tcp", "10.0.0.1"), Port(53, "udp")]
    assert " ".join(standing_argv(ports)) == (
        "ss --no-header --numeric --tcp state established state syn-recv state close-wait "
        "( sport = :443 or sport = :8080 )"
    )


@pytest.mark.parametrize(
    ("answer", "ports", "count"),
    [
        pytest.param(Answer(0, "ESTAB 0 0 a b\nCLOSE-WAIT 0 0 a b\n"), [Port(80)], 2, id="some"),
        pytest.param(Answer(0, ""), [Port(80)], 0, id="none"),
        pytest.param(Answer(127, "", "ss: not found"), [Port(80)], 0, id="nobody knows"),
        pytest.param(Answer(0, "ESTAB 0 0 a b\n"), [Port(53, "udp")], 0, id="no port of TCP"),
    ],
)
def test_connections_through_the_engines_proxy_are_counted(answer: Answer, ports: list[Port], count: int) -> None:
    assert standing(Nft(answer), ports) == count


@pytest.mark.parametrize("listing", ["", "{}", "null", "[]"])
def test_what_cannot_be_counted_counts_nothing(listing: str) -> None:
    assert counted(listing) == 0


class Nft:
    """Stands for nft; `says` is how it ends."""

    def __init__(self, says: Answer) -> None:
        self._says, self.asked = says, list[tuple[str, str]]()

    def __call__(
        self,
        argv: t.Sequence[str],
        content: str = "",
        patience: float = 0,
        environment: t.Mapping[str, str] | None = None,
    ) -> Answer:
        self.asked.append((" ".join(argv), content))
        return self._says


def test_a_hold_is_placed_and_released_and_tells_how_many_packets_it_held() -> None:
    counters = {"nftables": [{"rule": {"expr": [{"drop": None}, {"counter": {"packets": 4}}]}}, {"set": {}}]}
    nft = Nft(Answer(0, json.dumps(counters)))
    hold = Hold(nft, [Port(80)], 30)
    assert hold.place()
    assert nft.asked == [("nft --file -", ruleset([Port(80)], 30))]
    assert hold.release() == 4
    assert nft.asked[-1][0] == "nft delete table inet fleet_hold"
    assert hold.release() == 0


@pytest.mark.parametrize(("ports", "seconds"), [([], 30), ([Port(80)], 0)])
def test_nothing_to_hold_asks_nothing_of_nft(ports: list[Port], seconds: int) -> None:
    nft = Nft(Answer(0))
    hold = Hold(nft, ports, seconds)
    assert not hold.place()
    assert (hold.release(), nft.asked, hold.why_not) == (0, [], "")


def test_without_nft_the_restart_goes_on_and_says_why_nobody_was_held() -> None:
    hold = Hold(Nft(Answer(127, "", "nft: No such file or directory")), [Port(80)], 30)
    assert not hold.place()
    assert "No such file" in hold.why_not
