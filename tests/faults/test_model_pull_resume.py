# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An interrupted pull goes on where it was, and never mixes what does not belong together."""

from __future__ import annotations

import os
import random
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_chain
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.tests.faults._pulls import (
    CHUNK,
    LARGE,
    PATIENCE,
    SMALL,
    Result,
    Run,
    contents,
    ended,
    gone,
    left_over,
    pull,
    resumable,
    sha256,
    start,
    version_of,
    wanted_file,
)
from ansible_collections.emorobcare.fleet.tests.faults._server import Answer, Content, FaultServer

pytestmark = pytest.mark.usefixtures("small_chunks")

CUT = CHUNK + 20_000  # amid the second of three chunks
OTHER = random.Random(3).randbytes(len(LARGE))  # another version of the same length
LONGER = random.Random(4).randbytes(len(LARGE) + 1)


@pytest.fixture(name="interrupted")
def interrupted_fixture(server: FaultServer, run: Run, tmp_path: Path) -> str:
    """The URL of a file of which an earlier run has received one chunk and a part of the next."""
    url = server.serve("/model.bin", LARGE, Answer(cut_at=CUT), gone(tmp_path / "root", LARGE, {0}))
    assert run(wanted_file(url, content=LARGE))["failed"]
    assert left_over(tmp_path / "root") == resumable(LARGE)
    assert not version_of(tmp_path / "root").exists()
    server.serve("/model.bin", LARGE)
    return url


def finished(result: Result, root: Path) -> None:
    assert result["changed"], result
    assert contents(version_of(root)) == {"model.bin": LARGE}
    assert left_over(root) == []


def test_the_next_run_fetches_only_the_chunks_that_are_missing(
    interrupted: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    before = server.sent
    planned = run(wanted_file(interrupted, content=LARGE), _ansible_check_mode=True)
    assert planned["bytes_to_fetch"] == len(LARGE) - CHUNK
    assert (server.sent, left_over(tmp_path / "root")) == (before, resumable(LARGE))
    result = run(wanted_file(interrupted, content=LARGE))
    finished(result, tmp_path / "root")
    assert server.gets[-1].range == (CHUNK, len(LARGE))
    assert server.sent - before == len(LARGE) - CHUNK == result["bytes_fetched"]
    assert (result["bytes_resumed"], result["files"][0]["bytes_resumed"]) == (CHUNK, CHUNK)


def test_another_source_goes_on_where_the_first_one_was(
    interrupted: str, mirror: FaultServer, run: Run, tmp_path: Path
) -> None:
    result = run(wanted_file(mirror.serve("/copy.bin", LARGE), content=LARGE))
    finished(result, tmp_path / "root")
    assert mirror.sent == len(LARGE) - CHUNK


def test_within_one_run_the_next_source_goes_on_where_the_first_one_was(
    server: FaultServer, mirror: FaultServer, run: Run, tmp_path: Path
) -> None:
    first = server.serve("/model.bin", LARGE, Answer(cut_at=CUT), gone(tmp_path / "root", LARGE, {0}))
    result = run(wanted_file(first, mirror.serve("/copy.bin", LARGE), content=LARGE))
    finished(result, tmp_path / "root")
    assert mirror.sent <= len(LARGE) - CHUNK


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(
    interrupted: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    before = server.sent
    server.serve("/model.bin", LARGE, Answer(ranges=False))
    finished(run(wanted_file(interrupted, content=LARGE)), tmp_path / "root")
    assert server.sent - before <= len(LARGE)


def test_a_server_that_starts_to_ignore_ranges_after_a_cut_is_read_from_the_beginning(
    server: FaultServer, run: Run, tmp_path: Path
) -> None:
    url = server.serve("/model.bin", LARGE, Answer(cut_at=CUT), Answer(ranges=False))
    finished(run(wanted_file(url, content=LARGE)), tmp_path / "root")
    assert server.sent <= CUT + len(LARGE)


WRONG_PLACE = [
    pytest.param(Answer(shift=1), id="another start"),
    pytest.param(Answer(shift=-CHUNK), id="a start that is there already"),
    pytest.param(Answer(more=1), id="another size"),
    pytest.param(Answer(headers={"Content-Range": ""}), id="no range named"),
    pytest.param(Answer(headers={"Content-Range": "bytes ?-?/*"}), id="a garbled range"),
    pytest.param(Answer(headers={"Content-Range": f"bytes {CHUNK}-{CHUNK + 9}/{len(LARGE)}"}), id="a short range"),
    pytest.param(Answer(status=416), id="416"),
]


@pytest.mark.parametrize("lie", WRONG_PLACE)
def test_a_range_that_is_not_the_one_asked_for_is_not_used(
    lie: Answer, interrupted: str, server: FaultServer, mirror: FaultServer, run: Run, tmp_path: Path
) -> None:
    server.serve("/model.bin", LARGE, lie)
    good = mirror.serve("/copy.bin", LARGE)
    result = run(wanted_file(interrupted, good, content=LARGE))
    finished(result, tmp_path / "root")
    assert result["files"][0]["served_by"] == good
    assert mirror.sent == len(LARGE) - CHUNK


TOLD = [
    pytest.param({}, id="by ETag and date"),
    pytest.param({"ETag": ""}, id="by the date"),
    pytest.param({"Last-Modified": ""}, id="by the ETag"),
]
UNTOLD = [
    pytest.param({"ETag": "", "Last-Modified": ""}, id="neither ETag nor date"),
    pytest.param({"ETag": 'W/"1"', "Last-Modified": ""}, id="a weak ETag, which stays"),
]
NEW = Content(LARGE, modified=1_700_000_100)


@pytest.mark.parametrize("headers", [*TOLD, *UNTOLD])
def test_a_version_that_comes_between_two_runs_is_never_mixed_with_the_old_one(
    headers: dict[str, str], server: FaultServer, run: Run, tmp_path: Path
) -> None:
    """The server had other bytes before, and has those that are pinned now."""
    url = server.serve("/model.bin", OTHER, Answer(cut_at=CUT, headers=headers), gone(tmp_path / "root", LARGE, {0}))
    assert run(wanted_file(url, content=LARGE))["failed"]
    server.serve("/model.bin", b"", Answer(content=NEW, headers=headers))
    finished(run(wanted_file(url, content=LARGE)), tmp_path / "root")


@pytest.mark.parametrize("headers", TOLD)
def test_a_version_that_comes_in_the_middle_of_a_run_is_fetched_from_its_beginning(
    headers: dict[str, str], server: FaultServer, run: Run, tmp_path: Path
) -> None:
    url = server.serve("/model.bin", OTHER, Answer(cut_at=CUT, headers=headers), Answer(content=NEW, headers=headers))
    finished(run(wanted_file(url, content=LARGE)), tmp_path / "root")
    assert server.sent <= CUT + 2 * len(LARGE)


@pytest.mark.parametrize("headers", UNTOLD)
def test_a_version_that_comes_in_the_middle_of_a_run_untold_is_told_by_the_digest(
    headers: dict[str, str], server: FaultServer, run: Run, tmp_path: Path
) -> None:
    url = server.serve("/model.bin", OTHER, Answer(cut_at=CUT, headers=headers), Answer(content=NEW, headers=headers))
    result = run(wanted_file(url, content=LARGE))
    if result.get("failed"):
        assert result["reason"] == "digest_mismatch"
        assert not version_of(tmp_path / "root").exists()
        result = run(wanted_file(url, content=LARGE))
    finished(result, tmp_path / "root")


@pytest.mark.parametrize("content", [pytest.param(OTHER, id="same length"), pytest.param(LONGER, id="another length")])
def test_a_source_whose_version_stops_being_the_pinned_one_is_left_for_the_next(
    content: bytes, interrupted: str, server: FaultServer, mirror: FaultServer, run: Run, tmp_path: Path
) -> None:
    server.serve("/model.bin", content)
    result = run(wanted_file(interrupted, mirror.serve("/copy.bin", LARGE), content=LARGE))
    finished(result, tmp_path / "root")


def test_a_source_whose_version_stops_being_the_pinned_one_leaves_nothing_to_mix(
    interrupted: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    server.serve("/model.bin", OTHER)
    assert run(wanted_file(interrupted, content=LARGE))["reason"] == "digest_mismatch"
    assert not version_of(tmp_path / "root").exists()
    server.serve("/model.bin", LARGE)
    finished(run(wanted_file(interrupted, content=LARGE)), tmp_path / "root")


DAMAGE: dict[str, t.Callable[[Path, Path], object]] = {
    "a chunk lost": lambda part, log: _overwrite(part, 0, bytes(CHUNK)),
    "a byte flipped": lambda part, log: _overwrite(part, CHUNK - 1, bytes([LARGE[CHUNK - 1] ^ 1])),
    "all lost": lambda part, log: part.write_bytes(bytes(len(LARGE))),
    "the file cut off": lambda part, log: _truncate(part, CHUNK // 2),
    "the file empty": lambda part, log: _truncate(part, 0),
    "the file gone": lambda part, log: part.unlink(),
    "the file too long": lambda part, log: _truncate(part, len(LARGE) + 4096),
    "the log gone": lambda part, log: log.unlink(),
    "the log empty": lambda part, log: _truncate(log, 0),
    "the log torn": lambda part, log: _truncate(log, log.stat().st_size - 3),
    "the log ends in zeros": lambda part, log: log.write_bytes(log.read_bytes() + bytes(4096)),
    "the log is zeros": lambda part, log: log.write_bytes(bytes(log.stat().st_size)),
    "the log is no text": lambda part, log: log.write_bytes(random.Random(5).randbytes(500)),
    "the log claims all": lambda part, log: log.write_text(
        log.read_text() + "".join(f'["chunk",{index},""]\n' for index in range(9))
    ),
    "the log claims another size": lambda part, log: log.write_text(log.read_text().replace(str(len(LARGE)), "7")),
}


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def _truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


@pytest.mark.parametrize("damage", [pytest.param(damage, id=name) for name, damage in DAMAGE.items()])
def test_what_an_earlier_run_left_is_proven_with_a_server_without_ranges_too(
    damage: t.Callable[[Path, Path], object], interrupted: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    partial = tmp_path / "root" / "store" / "partial"
    damage(partial / f"{sha256(LARGE)}.part", partial / f"{sha256(LARGE)}.log")
    server.serve("/model.bin", LARGE, Answer(ranges=False))
    finished(run(wanted_file(interrupted, content=LARGE)), tmp_path / "root")


@pytest.mark.parametrize("chains", [pytest.param(True, id="with chains"), pytest.param(False, id="without chains")])
@pytest.mark.parametrize("damage", [pytest.param(damage, id=name) for name, damage in DAMAGE.items()])
def test_what_an_earlier_run_left_is_proven_before_it_is_used(
    damage: t.Callable[[Path, Path], object],
    chains: bool,
    interrupted: str,
    server: FaultServer,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not chains:
        monkeypatch.setattr(_model_chain, "_library", lambda: None)
    partial = tmp_path / "root" / "store" / "partial"
    damage(partial / f"{sha256(LARGE)}.part", partial / f"{sha256(LARGE)}.log")
    before = server.sent
    finished(run(wanted_file(interrupted, content=LARGE)), tmp_path / "root")
    assert server.sent - before <= 2 * len(LARGE)


@pytest.mark.parametrize("lost", [0, 1])
def test_of_what_an_earlier_run_left_only_the_lost_chunks_are_fetched_again(
    lost: int, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    url = server.serve("/model.bin", LARGE, Answer(cut_at=2 * CHUNK + 1), gone(tmp_path / "root", LARGE, {0, 1}))
    assert run(wanted_file(url, content=LARGE))["failed"]
    _overwrite(tmp_path / "root" / "store" / "partial" / f"{sha256(LARGE)}.part", lost * CHUNK, bytes(CHUNK))
    server.serve("/model.bin", LARGE)
    before = server.sent
    finished(run(wanted_file(url, content=LARGE)), tmp_path / "root")
    assert server.sent - before == len(LARGE) - CHUNK
    assert {request.range for request in server.gets} >= {(lost * CHUNK, (lost + 1) * CHUNK)}


def test_a_lie_that_a_broken_source_left_is_not_blamed_on_the_next_one(
    server: FaultServer, mirror: FaultServer, run: Run, tmp_path: Path
) -> None:
    lie = server.serve("/model.bin", LARGE, Answer(corrupt_at=5, cut_at=CUT), Answer(status=404))
    result = run(wanted_file(lie, mirror.serve("/copy.bin", LARGE), content=LARGE))
    finished(result, tmp_path / "root")
    assert mirror.sent <= 2 * len(LARGE)


def test_a_lie_that_an_earlier_run_left_is_not_blamed_on_the_source(
    server: FaultServer, mirror: FaultServer, run: Run, tmp_path: Path
) -> None:
    lie = server.serve("/model.bin", LARGE, Answer(corrupt_at=5, cut_at=CUT), gone(tmp_path / "root", LARGE, {0}))
    assert run(wanted_file(lie, content=LARGE))["failed"]
    result = run(wanted_file(mirror.serve("/copy.bin", LARGE), content=LARGE))
    finished(result, tmp_path / "root")


def test_what_was_left_over_long_ago_makes_room(
    interrupted: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    for name in resumable(LARGE):
        os.utime(tmp_path / "root" / "store" / "partial" / name, (0, 0))
    other = wanted_file(server.serve("/other", SMALL))
    assert run(other, version="2")["changed"]
    assert left_over(tmp_path / "root") == []


def test_what_was_left_over_lately_stays_while_others_are_pulled(
    interrupted: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    assert run(wanted_file(server.serve("/other", SMALL)), version="2")["changed"]
    assert run(version="2", state="absent")["changed"]
    assert left_over(tmp_path / "root") == resumable(LARGE)


def test_a_run_killed_in_the_middle_of_a_file_leaves_nothing_published_and_the_next_one_goes_on(
    server: FaultServer, tmp_path: Path
) -> None:
    # More than what is in flight: when the server gets there, chunks are there.
    url = server.serve("/model.bin", LARGE, Answer(stall_after=len(LARGE) - 1), Answer())
    file = wanted_file(url, content=LARGE)
    process = start(tmp_path / "root", file, mode="small_chunks")
    assert server.stalled.wait(PATIENCE), "the run never got to the stall"
    process.kill()
    assert ended(process) is None
    server.release.set()
    assert left_over(tmp_path / "root") == resumable(LARGE)
    assert not version_of(tmp_path / "root").exists()
    pull(tmp_path / "root", file)
    assert contents(version_of(tmp_path / "root")) == {"model.bin": LARGE}
    assert left_over(tmp_path / "root") == []


def test_of_two_runs_at_once_one_waits_and_fetches_nothing(server: FaultServer, tmp_path: Path) -> None:
    url = server.serve("/model.bin", SMALL, Answer(stall_after=5_000))
    results: list[t.Any] = []
    runs = [
        threading.Thread(target=lambda: results.append(pull(tmp_path / "root", wanted_file(url)))) for _run in range(2)
    ]
    for thread in runs:
        thread.start()
    assert server.stalled.wait(PATIENCE)
    server.release.set()
    for thread in runs:
        thread.join()
    assert sorted(result.outcome.bytes_fetched for result in results) == [0, len(SMALL)]
    assert sorted(result.plan.changed for result in results) == [False, True]
    assert server.sent == len(SMALL)


def test_two_versions_pulled_at_once_come_out_whole(server: FaultServer, tmp_path: Path) -> None:
    bodies = {version: random.Random(version).randbytes(1_000_000) for version in "12345"}
    errors: list[ModelError] = []

    def pull_one(version: str, body: bytes) -> None:
        try:
            pull(tmp_path / "root", wanted_file(server.serve(f"/{version}", body), content=body), version=version)
        except ModelError as exc:
            errors.append(exc)

    runs = [threading.Thread(target=pull_one, args=item) for item in bodies.items()]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert errors == []
    for version, body in bodies.items():
        assert contents(version_of(tmp_path / "root", version)) == {"model.bin": body}


def test_a_store_that_stays_locked_is_reported_with_who_holds_it(server: FaultServer, run: Run, tmp_path: Path) -> None:
    url = server.serve("/model.bin", SMALL, Answer(stall_after=5_000))
    holder = start(tmp_path / "root", wanted_file(url), mode="small_chunks")
    assert server.stalled.wait(PATIENCE)
    result = run(wanted_file(url), lock_timeout=0)
    server.release.set()
    assert t.cast("Result", ended(holder))["changed"]
    assert result["reason"] == "locked"
    assert f"process {holder.pid}" in result["msg"]
