# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Show how far a task is while the worker waits for its module: a thread that reads, and a screen that it writes to.

A worker has no terminal. Since ansible-core 2.19 it has no controlling one either, so that /dev/tty cannot be opened;
all that it says goes through a queue to the main process, which writes it in the order of arrival. Thus all hosts share
one line, in turns of a second. The cursor stays at the end of that line, so that whatever else comes meanwhile, or an
interrupt, stands behind it and not upon it; and each host clears the line right before its result.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import types
import typing as t

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._progress import Watch, until_turn

FIRST_LOOK = 2.0  # seconds: what takes less needs no progress
LOG_EVERY = 30.0  # seconds between lines where there is no terminal
MOST_TURNS = 5  # more hosts than that: better a line that another one cuts short than one that is never new
MOST_FAILURES = 3  # in a row, until it is given up
LAST_LOOK = 1.0  # seconds to wait for a look that is under way when the module has ended

_Handler = t.Callable[[int, t.Optional[types.FrameType]], t.Any]


class Source(t.Protocol):
    """Where the notes are read."""

    pause: float  # seconds for which not to read again

    def read(self) -> str:
        """Return the notes, nothing while there are none. May raise anything."""


class Screen(t.Protocol):
    """Where progress is shown."""

    first: float  # seconds until the first look
    width: int | None

    def wait(self, now: float) -> float:
        """Return the seconds until the next look; C(now) is seconds since the epoch."""

    def show(self, line: str) -> None: ...

    def clear(self) -> None:
        """Leave the place to the task's result."""


class Terminal:
    """One line for all hosts: this one has the turn C(turn) of C(turns)."""

    def __init__(self, display: t.Any, columns: int, turn: int = 0, turns: int = 1) -> None:
        self.first = FIRST_LOOK
        self.width: int | None = columns - 1  # in the last column some terminals begin a new line
        self._display = display
        self._turn, self._turns = turn, turns
        self._shown = False

    def wait(self, now: float) -> float:
        return until_turn(now, self._turns, self._turn)

    def show(self, line: str) -> None:
        self._shown = True
        self._write(line)

    def clear(self) -> None:
        if self._shown or self._turns > 1:  # what stands there may be another host's
            self._write("")

    def _write(self, line: str) -> None:
        # The carriage return makes the main process write at once, without a line feed.
        self._display.display(f"\r{line}\x1b[K", newline=False, screen_only=True)


class Log:
    """A line now and then."""

    def __init__(self, display: t.Any) -> None:
        self.first = LOG_EVERY
        self.width: int | None = None
        self._display = display

    def wait(self, now: float) -> float:
        return LOG_EVERY

    def show(self, line: str) -> None:
        # Standard output that is no terminal would keep the line until the next task begins.
        self._display.display(line, stderr=True)

    def clear(self) -> None:
        pass


class Follower:
    """Reads and shows in a thread, as long as the context lasts. Whatever fails here does not matter to the task."""

    def __init__(self, source: Source, screen: Screen, watch: Watch, complain: t.Callable[[str], None]) -> None:
        self._source, self._screen, self._watch, self._complain = source, screen, watch, complain
        self._ended = threading.Event()
        self._speaking = threading.RLock()  # the main thread may be interrupted while it holds it
        # A daemon: a look that hangs with its connection must not keep the worker.
        self._thread = threading.Thread(target=self.follow, daemon=True)
        self._handlers = contextlib.ExitStack()

    def __enter__(self) -> Follower:
        # A signal may be handed to any thread that takes it, but Python's handlers run in the main one only. That one
        # would notice when the module has ended: an interrupt, or the end of the task's time, must not wait for that.
        # A thread begins with the mask of the one that starts it.
        handled = [one for one in signal.valid_signals() if callable(signal.getsignal(one))]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, handled)
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._handlers.enter_context(_handlers_wait_for(self._speaking))
        return self

    def __exit__(self, *_exc: object) -> None:
        """Nothing is shown after this, which would stand upon the result or come from a worker that exits."""
        self._ended.set()
        with self._speaking:
            self._screen.clear()
        self._handlers.close()
        self._thread.join(LAST_LOOK)

    def follow(self) -> None:
        failures = 0
        wait = self._screen.first
        while not self._ended.wait(wait):
            try:
                line = self._watch.line(self._source.read(), time.monotonic(), self._screen.width)
                failures = 0
            except Exception as exc:  # a connection may raise anything, and a thread's traceback ends on the screen
                line = ""
                failures += 1
                self._say(self._complain, f"The progress cannot be read: {exc}")
                if failures == MOST_FAILURES:
                    return
            if line:
                self._say(self._screen.show, line)
            wait = self._source.pause + self._screen.wait(time.time() + self._source.pause)

    def _say(self, say: t.Callable[[str], None], line: str) -> None:
        with self._speaking:
            if not self._ended.is_set():
                say(line)


@contextlib.contextmanager
def _handlers_wait_for(speaking: threading.RLock) -> t.Iterator[None]:
    """Let an interrupt end the worker only while no other thread speaks.

    A worker that ends while it holds the lock of the queue to the main process leaves it locked, and then the main
    process waits for ever.
    """

    def waiting(handler: _Handler) -> _Handler:
        def handle(number: int, frame: types.FrameType | None) -> None:
            held = speaking.acquire(timeout=LAST_LOOK)
            try:
                handler(number, frame)
            finally:
                if held:
                    speaking.release()

        return handle

    main = threading.current_thread() is threading.main_thread()  # no other one may set handlers
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if main}
    replaced = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number, handler in replaced.items():
            signal.signal(number, waiting(handler))
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
