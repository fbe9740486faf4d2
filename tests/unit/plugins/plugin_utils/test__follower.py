# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import signal
import threading
import types
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils import _follower
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._follower import Follower, Log, Screen, Terminal
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._progress import Watch

CLEAR = "\r\x1b[K"


class Clock:
    """Time that passes only by waiting, until it ends."""

    def __init__(self, start: float, end: float) -> None:
        self.start = self.now = start
        self.end = end

    def wait(self, seconds: float) -> bool:
        assert seconds > 0
        self.now += seconds
        return self.is_set()

    def is_set(self) -> bool:
        return self.now >= self.end

    def set(self) -> None:
        self.end = self.now


class Host:
    """Notes a gigabyte in ten seconds. Fails at the looks named; a look takes as long as `slow` says."""

    def __init__(self, clock: Clock, broken: t.Container[int] = (), pause: float = 0.0) -> None:
        self.pause = pause
        self.looks: list[float] = []
        self._clock, self._broken = clock, broken

    def read(self) -> str:
        self.looks.append(self._clock.now - self._clock.start)
        if len(self.looks) in self._broken:
            raise RuntimeError("connection lost")
        passed = self._clock.now - self._clock.start
        notes = {"schema": 1, "phase": "fetch", "total": 10**9, "done": int(passed * 10**8), "resumed": 0}
        return json.dumps({**notes, "started": self._clock.start, "updated": self._clock.now})


class Display:
    """Keeps what the main process is told to write, and how."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, t.Any]]] = []

    def display(self, line: str, **how: t.Any) -> None:
        self.said.append((line, how))

    @property
    def lines(self) -> list[str]:
        return [line for line, _how in self.said]


@pytest.fixture(name="display")
def display_fixture() -> Display:
    return Display()


@pytest.fixture(name="follow")
def follow_fixture(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., list[str]]:
    """Follow a host until the clock ends; return the complaints."""

    def follow(host: Host, clock: Clock, screen: Screen) -> list[str]:
        complaints: list[str] = []
        monkeypatch.setattr(
            _follower, "time", types.SimpleNamespace(time=lambda: clock.now, monotonic=lambda: clock.now)
        )
        follower = Follower(host, screen, Watch("r: a/1"), complaints.append)
        monkeypatch.setattr(follower, "_ended", clock)
        follower.follow()
        return complaints

    return follow


Follow = t.Callable[[Host, Clock, Screen], list[str]]


def test_a_terminal_gets_one_line_that_changes_each_second(follow: Follow, display: Display) -> None:
    clock = Clock(1000.5, 1005)
    assert follow(Host(clock), clock, Terminal(display, 80)) == []
    assert display.lines == [
        "\rr: a/1:  20 %  0.2/1.0 GB  8 s left  100.0 MB/s\x1b[K",
        "\rr: a/1:  25 %  0.2/1.0 GB  8 s left  100.0 MB/s\x1b[K",
        "\rr: a/1:  35 %  0.3/1.0 GB  7 s left  100.0 MB/s\x1b[K",
    ]
    assert {tuple(how.items()) for _line, how in display.said} == {(("newline", False), ("screen_only", True))}


def test_what_has_ended_early_was_never_looked_at(follow: Follow, display: Display) -> None:
    clock = Clock(1000, 1001.9)
    host = Host(clock)
    follow(host, clock, Terminal(display, 80))
    assert (host.looks, display.said) == ([], [])


def test_a_line_is_narrower_than_the_terminal(follow: Follow, display: Display) -> None:
    clock = Clock(1000, 1002.5)
    follow(Host(clock), clock, Terminal(display, 14))
    assert display.lines == ["\rr: a/1:  20 %\x1b[K"]


def test_hosts_show_their_lines_in_turn(follow: Follow, display: Display) -> None:
    shown: dict[int, list[float]] = {}
    for turn in range(3):
        clock = Clock(1000, 1012)
        host = Host(clock)
        follow(host, clock, Terminal(display, 80, turn, 3))
        shown[turn] = host.looks[1:]
    assert shown == {0: [5, 8, 11], 1: [3, 6, 9], 2: [4, 7, 10]}


def test_a_log_gets_a_line_every_half_minute(follow: Follow, display: Display) -> None:
    clock = Clock(1000, 1091)
    host = Host(clock)
    follow(host, clock, Log(display))
    assert host.looks == [30, 60, 90]
    assert display.said[0] == ("r: a/1:  100 %  3.0/1.0 GB  100.0 MB/s", {"stderr": True})


def test_a_slow_connection_is_asked_less_often(follow: Follow, display: Display) -> None:
    clock = Clock(1000, 1020)
    host = Host(clock, pause=4.5)
    follow(host, clock, Terminal(display, 80))
    assert host.looks == [2, 7, 12, 17]


def test_a_look_that_fails_is_told_to_who_wants_details(follow: Follow, display: Display) -> None:
    clock = Clock(1000, 1005.5)
    complaints = follow(Host(clock, broken={1, 3}), clock, Terminal(display, 80))
    assert complaints == ["The progress cannot be read: connection lost"] * 2
    assert len(display.said) == 2


def test_what_fails_again_and_again_is_given_up(follow: Follow, display: Display) -> None:
    clock = Clock(1000, 1060)
    host = Host(clock, broken={1, 3, 4, 5})
    assert len(follow(host, clock, Terminal(display, 80))) == 4
    assert len(host.looks) == 5


def test_before_the_result_the_line_is_cleared(display: Display) -> None:
    terminal = Terminal(display, 80)
    terminal.clear()
    assert display.lines == []
    terminal.show("x")
    terminal.clear()
    assert display.lines == ["\rx\x1b[K", CLEAR]


def test_another_hosts_line_is_cleared_too(display: Display) -> None:
    Terminal(display, 80, turns=2).clear()
    assert display.lines == [CLEAR]


class Hanging:
    """Notes that come when told to, or not at all."""

    pause = 0.0

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.answer = threading.Event()

    def read(self) -> str:
        self.reading.set()
        self.answer.wait()
        return '{"schema": 1, "phase": "fetch", "total": 1, "done": 1, "resumed": 0, "started": 1, "updated": 2}'


@pytest.fixture(name="at_once")
def at_once_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_follower, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(_follower, "LAST_LOOK", 0.01)


@pytest.mark.usefixtures("at_once")
def test_a_look_that_hangs_does_not_keep_the_task_and_shows_nothing_afterwards(display: Display) -> None:
    host = Hanging()
    follower = Follower(host, Terminal(display, 80), Watch("r"), display.display)
    with follower:
        host.reading.wait()
    assert follower._thread.is_alive()
    host.answer.set()
    follower._thread.join()
    assert display.lines == []


@pytest.mark.usefixtures("at_once")
def test_a_failure_of_the_task_passes_and_the_line_goes(display: Display) -> None:
    host = Hanging()
    host.answer.set()
    terminal = Terminal(display, 80)
    terminal.show("r")

    def run() -> None:
        with Follower(host, terminal, Watch("r"), pytest.fail):
            raise TimeoutError("task")

    with pytest.raises(TimeoutError):
        run()
    assert display.lines[-1] == CLEAR


@pytest.fixture(name="interrupts")
def interrupts_fixture() -> t.Iterator[list[int]]:
    """Handle interrupts as a worker does, but live on; whatever a background job was told to ignore."""
    interrupts: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: interrupts.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield interrupts
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("at_once")
def test_no_signal_goes_to_the_thread_that_cannot_handle_it(display: Display, interrupts: list[int]) -> None:
    blocked: list[set[signal.Signals]] = []

    class Asking(Hanging):
        def read(self) -> str:
            blocked.append(t.cast("set[signal.Signals]", signal.pthread_sigmask(signal.SIG_BLOCK, [])))
            return super().read()

    host = Asking()
    host.answer.set()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with Follower(host, Terminal(display, 80), Watch("r"), pytest.fail):
        host.reading.wait()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert {signal.SIGTERM, signal.SIGINT} <= blocked[0]
    assert not {signal.SIGCHLD, signal.SIGSEGV} & blocked[0]


@pytest.mark.usefixtures("at_once")
def test_an_interrupt_waits_until_a_line_is_out(
    monkeypatch: pytest.MonkeyPatch, display: Display, interrupts: list[int]
) -> None:
    monkeypatch.setattr(_follower, "LAST_LOOK", 10.0)
    speaking, order = threading.Event(), list[str]()

    class Slow(Terminal):
        def show(self, line: str) -> None:
            speaking.set()
            while not order:  # until the interrupt has been sent
                pass
            order.append("line")

    host = Hanging()
    host.answer.set()
    handler = signal.getsignal(signal.SIGTERM)
    with Follower(host, Slow(display, 80), Watch("r"), pytest.fail):
        speaking.wait()
        order.append("sent")
        os.kill(os.getpid(), signal.SIGTERM)
        assert (order[:2], interrupts) == (["sent", "line"], [signal.SIGTERM])
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.usefixtures("at_once")
def test_where_handlers_cannot_be_set_it_follows_all_the_same(display: Display) -> None:
    host = Hanging()
    host.answer.set()

    def run() -> None:
        with Follower(host, Terminal(display, 80), Watch("r"), pytest.fail):
            host.reading.wait()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert host.reading.is_set()
