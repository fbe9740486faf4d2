# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many releases one after the other, under every kind of request: none may fail."""

from __future__ import annotations

import inspect
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.bench.release.images.api import app
from ansible_collections.emorobcare.fleet.tests.faults._load import KINDS, WEB_SOCKET, Load
from ansible_collections.emorobcare.fleet.tests.faults._releases import wait_for
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides, program

PAUSE = 0.002  # seconds between two requests of a client, so that the engine has time for its own


def talking(sides: Sides, text: str) -> dict[str, t.Any]:
    """A release of this text whose API speaks WebSocket too, and ends what it began when it is told to stop."""
    api = program(sides.image, inspect.getsource(app), environment={"RELEASE": text}, stop_signal="SIGTERM")
    gate = [{"http": {"port": app.PORT, "path": "/api/ready", "expect": "ready"}}]
    return sides.sided(text, services={"api": api}, more={"api": {"gate": gate}}, rollout={"drain": 1})


def series(sides: Sides, rounds: int) -> Load:
    """Two updates and a rollback, again and again; after each, requests of all kinds."""
    sides.deploy(talking(sides, "0"))
    with Load(sides.port, (*KINDS, WEB_SOCKET), pause=PAUSE) as load:
        for number in range(rounds):
            for text in (str(2 * number + 1), str(2 * number + 2)):
                sides.deploy(talking(sides, text))
                _let_it_be_used(load, text)
            back = sides.deploy({"stack": sides.stack, "state": "rolled_back"})
            assert back["changed"]
            _let_it_be_used(load, str(2 * number + 1))
    return load


def _let_it_be_used(load: Load, text: str) -> None:
    before, count = load.colours[text], load.total
    wait_for(lambda: load.colours[text] > before and load.total > count + 100)


def test_no_request_fails_and_web_sockets_come_back_at_once(sides: Sides) -> None:
    load = series(sides, 1)
    assert load.failures == []
    assert load.closed >= 3  # each switch leaves one on the old side, which is cut when the drain is over
    assert {record.colour for record in load.records if record.kind == WEB_SOCKET.name} == {"0", "1", "2"}


@pytest.mark.slow
def test_no_request_fails_in_twenty_updates_and_ten_rollbacks(sides: Sides) -> None:
    load = series(sides, 10)
    assert load.failures == []
    assert load.closed >= 30
    assert set(load.colours) == {str(number) for number in range(21)}
    print(f"\n{load.total} requests, 20 updates and 10 rollbacks, none failed; {load.closed} WebSockets closed")
