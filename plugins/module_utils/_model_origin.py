# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The border between the transfer engine and what opens sources: no I/O, only what both sides must agree on."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import Source

DEFAULT_HUB = "https://huggingface.co"


class Told(t.NamedTuple):
    """What a source says of a file, before or beside its bytes.

    size: bytes of the whole file (not of the range that was asked for), None when the source does not say.
    validator: what tells one version of the file from the next: a strong ETag, else the Last-Modified date, else "".
    ranges: whether a range can be asked for. Unproven until a range was delivered; False once one was ignored.
    """

    size: int | None
    validator: str
    ranges: bool


class Stream(t.Protocol):
    """The bytes of a file or of a range of it, as they arrive. One thread reads it.

    `offset` is where in the file its first byte is: 0 when a range was asked for and ignored.
    """

    @property
    def told(self) -> Told: ...

    @property
    def offset(self) -> int: ...

    def readinto(self, buffer: memoryview) -> int:
        """Put what comes next into `buffer`; return how many bytes, perhaps fewer than fit, 0 at the end.

        The end is that of the range or file, or where the connection was closed without a word: the reader counts.

        Raises:
            ModelError: mostly transient; nothing came for the stall timeout, or the connection broke. Bytes that
                arrived before were returned by an earlier call.
        """


class Origin(t.Protocol):
    """What opens sources of one kind. Several threads use one at once, each its own streams."""

    def probe(self, source: t.Any) -> Told:
        """Ask what the source says of the file, without its bytes.

        Raises:
            ModelError: as for `open`.
        """

    def open(
        self, source: t.Any, start: int = 0, stop: int | None = None, validator: str = ""
    ) -> t.ContextManager[Stream]:
        """Open the file, or ask for its bytes start..stop-1 (stop None: to the end) of the version `validator`.

        Not more than stop - start bytes are delivered, perhaps fewer. But when the source cannot do ranges, or has
        another version by now, the stream brings the whole file from 0 on, and `told.ranges` is False: the engine
        compares `told.validator`.

        Raises:
            ModelError: `transient` when the same request may succeed in a moment (`retry_after` says when);
                otherwise this source does not give the file.
        """

    def close(self) -> None:
        """Give back what the origin holds: connections, scratch files. It is not used any more then."""


class Origins:
    """What opens sources, made when it is first needed and once for all sources that it serves. For several threads."""

    def __init__(self, make: t.Callable[[Source], Origin]) -> None:
        self._make = make
        self._made: dict[tuple[str, ...], Origin] = {}
        self._lock = threading.Lock()

    def of(self, source: Source) -> Origin:
        """Return what opens a source.

        Raises:
            ModelError: it cannot be made from the settings (a proxy that is none).
        """
        with self._lock:
            if source.origin not in self._made:
                self._made[source.origin] = self._make(source)
            return self._made[source.origin]

    def announced_sha256(self, source: Source) -> str | None:
        """Return the digest (hex) that a source says its bytes have; None where it says none.

        Raises:
            ModelError: as `Origin.open`.
        """
        announced = getattr(self.of(source), "announced_sha256", None)
        return announced(source) if announced else None

    def close(self) -> None:
        """Close all of them. May be called again."""
        with self._lock:
            for origin in self._made.values():
                origin.close()


@dataclass(frozen=True)
class Network:
    """How to reach sources. Timeouts in seconds."""

    connect_timeout: float = 10.0  # until a connection stands, TLS included
    stall_timeout: float = 60.0  # how long a connection may bring no byte
    proxy: str | None = field(default=None, repr=False)  # URL, for every host; None: what the environment says
    ca_path: str | None = None  # PEM file of further authorities, besides the system's
    hub_url: str = DEFAULT_HUB
    hub_token: str | None = field(default=None, repr=False)
    registry_username: str | None = None
    registry_password: str | None = field(default=None, repr=False)
