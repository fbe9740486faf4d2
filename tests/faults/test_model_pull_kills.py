# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pulls that are killed (SIGKILL) at random moments, again and again, come out right and cost little more than one.

A moment is a number of bytes that the server has sent, drawn from a generator whose seed is in the test's name: the
server itself kills the process, so no clock decides. After each kill, what the log on the disk claims is compared with
what was sent: the rest was in flight, and is bounded.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import CHUNK
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_transfer import _BUFFERS, BLOCK
from ansible_collections.emorobcare.fleet.tests.faults._pulls import ended, left_over, logged, start, version_of
from ansible_collections.emorobcare.fleet.tests.faults._server import FaultServer

CONNECTIONS = 2
# Bytes that are on their way when a process dies, and so are sent again: of each connection the chunk that it is in
# and what the kernel holds for it, and once the buffers between network, hasher and disk.
KERNEL = 8 << 20
IN_FLIGHT = CONNECTIONS * (CHUNK + KERNEL) + _BUFFERS * BLOCK


@dataclass(frozen=True)
class Source:
    """A file behind a server that counts."""

    path: Path
    server: FaultServer
    url: str
    size: int
    sha256: str

    @classmethod
    def make(cls, path: Path, size: int, server: FaultServer) -> Source:
        digest, randomness = hashlib.sha256(), random.Random(size)
        with path.open("wb") as file:
            for offset in range(0, size, CHUNK):
                chunk = randomness.randbytes(min(CHUNK, size - offset))
                digest.update(chunk)
                file.write(chunk)
        return cls(path, server, server.serve("/model.bin", path), size, digest.hexdigest())


class Victim:
    """One pull of a source, by processes of which all but the last one are killed."""

    def __init__(self, root: Path, source: Source) -> None:
        self.root = root
        self.source = source
        self.kills = 0
        self.file = {"path": "model.bin", "sha256": source.sha256, "size": source.size, "source": source.url}
        self._before = source.server.sent

    @property
    def missing(self) -> int:
        """Bytes that the next process has to fetch, as the log on the disk says."""
        size = self.source.size
        chunks = logged(self.root, self.source.sha256)
        return size - sum(min(CHUNK, size - index * CHUNK) for index in chunks)

    def run(self, kill_after: int | None = None) -> bool:
        """Pull, and be killed when that many bytes have been sent; return whether it came to its end before."""
        server, missing = self.source.server, self.missing
        sent = server.sent
        process = start(self.root, self.file, mode="eagerness", concurrency=CONNECTIONS)
        if kill_after is not None:
            server.when_sent(sent + kill_after, process.kill)
        result = ended(process)
        server.settle()
        if result is not None:
            assert result["changed"], result
            return True
        self.kills += 1
        if not version_of(self.root).exists():
            lost = server.sent - sent - (missing - self.missing)
            assert lost <= IN_FLIGHT, f"killed after {kill_after} bytes, {lost} of which must be sent again"
        return False

    def check(self) -> None:
        """The version is right, and what was sent more than once was in flight at a kill."""
        digest = hashlib.sha256()
        with (version_of(self.root) / "model.bin").open("rb") as file:
            while block := file.read(CHUNK):
                digest.update(block)
        assert digest.hexdigest() == self.source.sha256
        assert left_over(self.root) == []
        again = self.source.server.sent - self._before - self.source.size
        assert again <= self.kills * IN_FLIGHT
        assert not self.kills or again > 0, "nothing was cut off, so nothing was tested"


def kill(source: Source, folder: Path, kills: int, longest: int, seed: int) -> None:
    """Kill pulls that many times in all: single ones, and chains of up to `longest` kills of one pull."""
    moments = random.Random(seed)
    pulls = 0
    while kills:
        pulls += 1
        victim = Victim(folder / f"root{pulls}", source)
        for number in range(min(kills, moments.choice([1, longest])), 0, -1):
            # Spread over what is still to come; now and then, when the last byte is on its way.
            latest = max(2, victim.missing * 2 // (number + 1))
            if victim.run(victim.missing if moments.random() < 0.1 else moments.randrange(1, latest)):
                break
        else:
            assert victim.run(), "the run that nobody killed did not finish"
        victim.check()
        kills -= max(victim.kills, 1)
        shutil.rmtree(victim.root)
    source.path.unlink()  # pytest keeps what tests leave


@pytest.mark.parametrize("seed", [1, 2])
def test_pulls_that_are_killed_at_random_moments_come_out_right(seed: int, server: FaultServer, tmp_path: Path) -> None:
    kill(Source.make(tmp_path / "source", 200 << 20, server), tmp_path, kills=6, longest=5, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_pulls_of_a_gibibyte_that_are_killed_at_random_moments_come_out_right(
    seed: int, server: FaultServer, tmp_path: Path
) -> None:
    kill(Source.make(tmp_path / "source", 1 << 30, server), tmp_path, kills=10, longest=8, seed=seed)


def test_a_chunk_of_real_size_that_rotted_is_all_that_is_fetched_again(server: FaultServer, tmp_path: Path) -> None:
    source = Source.make(tmp_path / "source", 5 * CHUNK + 1, server)
    victim = Victim(tmp_path / "root", source)
    assert victim.run()
    before = server.sent
    with (version_of(victim.root) / "model.bin").open("r+b") as file:
        file.seek(3 * CHUNK)
        file.write(b"rot")
    result = ended(start(victim.root, victim.file, state="verified"))
    assert result is not None
    assert result["corrupt"] == [{"path": "model.bin", "start": 3 * CHUNK, "stop": 4 * CHUNK}]
    assert server.sent - before == CHUNK
