# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several connections at once: as many as allowed, as fast as allowed, and each fault as harmless as with one."""

from __future__ import annotations

import functools
import random
import threading
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_feed, _model_fetch
from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_ranges as ranges
from ansible_collections.emorobcare.fleet.tests.faults._pulls import (
    CHUNK,
    Run,
    contents,
    left_over,
    version_of,
    wanted_file,
)
from ansible_collections.emorobcare.fleet.tests.faults._server import HANG_UP, Answer, Content, FaultServer

CONTENT = random.Random(7).randbytes(8 * CHUNK + 12_345)
SLOW = 10_000_000  # bytes a second: slow enough for connections to be added meanwhile
KERNEL = 8 << 20  # bytes that it may hold of an answer whose later half another connection has taken over

# One test has chunks of their real size; the others are about order, not about size.
scaled_down = pytest.mark.usefixtures("small_chunks", "eager")


@pytest.mark.usefixtures("eager")
def test_a_large_file_is_fetched_in_several_ranges_at_once(server: FaultServer, run: Run, tmp_path: Path) -> None:
    content = random.Random(8).randbytes(8 * ranges.CHUNK + 12_345)
    url = server.serve("/model.bin", content, Answer(together=3))
    result = run(wanted_file(url, content=content), concurrency=3)
    assert result["changed"], result
    assert contents(version_of(tmp_path / "root")) == {"model.bin": content}
    assert server.busiest == 3
    starts = {request.range[0] for request in server.gets if request.range}
    assert len(starts) >= 2, "no range was asked for"
    assert {start % ranges.CHUNK for start in starts} == {0}
    assert server.sent <= len(content) + 3 * KERNEL


@scaled_down
def test_a_server_without_ranges_gives_a_large_file_over_one_connection(
    server: FaultServer, run: Run, tmp_path: Path
) -> None:
    content = random.Random(9).randbytes(5_000_000)  # far more than a connection holds that nobody reads
    url = server.serve("/model.bin", content, Answer(ranges=False, rate=SLOW))
    result = run(wanted_file(url, content=content), concurrency=4)
    assert result["changed"], result
    assert contents(version_of(tmp_path / "root")) == {"model.bin": content}
    assert [request.sent for request in server.gets if request.sent > len(content) // 2] == [len(content)]


@scaled_down
@pytest.mark.parametrize("concurrency", [1, 3])
def test_there_are_never_more_connections_than_allowed(
    concurrency: int, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    parts = {"model.bin": CONTENT, **{f"part{n}": random.Random(n).randbytes(5_000) for n in range(100)}}
    files = [
        wanted_file(server.serve(f"/{path}", body, Answer(rate=SLOW)), content=body, path=path)
        for path, body in parts.items()
    ]
    assert run(*files, concurrency=concurrency)["changed"]
    assert contents(version_of(tmp_path / "root")) == parts
    assert server.busiest <= concurrency


FAULTS = [
    pytest.param(Answer(cut_at=5 * CHUNK + 1), id="cut"),
    pytest.param(Answer(status=503), id="503"),
    pytest.param(HANG_UP, id="closed"),
    pytest.param(Answer(ranges=False), id="a range ignored once"),
]


@scaled_down
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_connection_costs_the_others_nothing(
    fault: Answer, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    slow = Answer(together=2, rate=SLOW)
    url = server.serve("/model.bin", CONTENT, slow, slow, fault, Answer())
    result = run(wanted_file(url, content=CONTENT), concurrency=3)
    assert result["changed"], result
    assert contents(version_of(tmp_path / "root")) == {"model.bin": CONTENT}
    assert left_over(tmp_path / "root") == []


@scaled_down
def test_a_version_that_changes_under_several_connections_is_never_mixed(
    server: FaultServer, run: Run, tmp_path: Path
) -> None:
    old = Content(random.Random(8).randbytes(len(CONTENT)))
    cut, tail = Answer(content=old, together=2, cut_at=CHUNK + 5), Answer(content=old, together=2)
    url = server.serve("/model.bin", CONTENT, cut, tail, Answer())
    result = run(wanted_file(url, content=CONTENT), concurrency=3)
    assert result["changed"], result
    assert contents(version_of(tmp_path / "root")) == {"model.bin": CONTENT}


@scaled_down
def test_a_source_that_lies_to_one_of_several_connections_is_left_for_the_next(
    server: FaultServer, mirror: FaultServer, run: Run, tmp_path: Path
) -> None:
    lie = server.serve("/model.bin", CONTENT, Answer(corrupt_at=6 * CHUNK, together=2))
    good = mirror.serve("/copy.bin", CONTENT)
    result = run(wanted_file(lie, good, content=CONTENT), concurrency=3)
    assert result["files"][0]["served_by"] == good, result
    assert contents(version_of(tmp_path / "root")) == {"model.bin": CONTENT}


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._lock = threading.Lock()

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


@pytest.mark.parametrize("size", [pytest.param(20, id="a large file"), pytest.param(3, id="a small file")])
def test_a_bandwidth_limit_holds(
    size: int, server: FaultServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    meter = functools.partial(_model_feed.Meter, clock=clock.read, sleep=clock.sleep)
    monkeypatch.setattr(_model_fetch, "Meter", meter)
    body = bytes(size * 1_000_000)
    file = wanted_file(server.serve("/model.bin", body), content=body)
    assert run(file, concurrency=1, bandwidth_limit="1MB")["changed"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": body}
    assert size - 1 <= clock.now <= size + 1, "seconds for that many megabytes"
