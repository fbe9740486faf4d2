# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults come in company: random mixes of them, drawn from a seed, never harm what one good source can put right."""

from __future__ import annotations

import random
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.faults._pulls import (
    BLOCK,
    CHUNK,
    Run,
    contents,
    left_over,
    version_of,
    wanted_file,
)
from ansible_collections.emorobcare.fleet.tests.faults._server import HANG_UP, Answer, Content, FaultServer

pytestmark = pytest.mark.usefixtures("small_chunks", "eager")

SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, 9 * CHUNK + 7]
SEEDS = [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 400))]


def draw_fault(chance: random.Random, size: int) -> Answer:
    place = chance.randrange(max(size, 1))
    return chance.choice(
        [
            Answer(),
            HANG_UP,
            Answer(cut_after=place),
            Answer(cut_at=place),
            Answer(cut_at=place, chunked=True),
            Answer(corrupt_at=place),
            Answer(corrupt_at=place // 2, cut_at=place),
            Answer(status=chance.choice([404, 416, 429, 500, 503])),
            Answer(ranges=False),
            Answer(ranges=False, cut_after=place),
            Answer(no_length=True),
            Answer(drops=True),
            Answer(more=chance.choice([-1, 1, 1000])),
            Answer(shift=chance.choice([-1, 1, CHUNK])),
            Answer(content=Content(chance.randbytes(size))),
            Answer(content=Content(chance.randbytes(size)), headers={"ETag": "", "Last-Modified": ""}),
            Answer(headers={"ETag": "", "Last-Modified": ""}),
            Answer(headers={"ETag": f'"{chance.random()}"'}),
            Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n"),
            Answer(rate=20_000_000),
        ]
    )


class Draw(t.NamedTuple):
    """Files with a source that misbehaves and then fails for good, and, where wanted, one that is good."""

    files: list[dict[str, t.Any]]
    bodies: dict[str, bytes]


def draw(chance: random.Random, server: FaultServer, mirror: FaultServer, bodies: dict[str, bytes]) -> Draw:
    files = []
    for path, body in bodies.items():
        faults = [draw_fault(chance, len(body)) for _fault in range(chance.randrange(6))]
        last = chance.choice([Answer(), Answer(status=404)])
        bad = server.serve(f"/{path}", body, *faults, last)
        good = mirror.serve(f"/{path}", body, Answer(ranges=chance.random() < 0.8))
        files.append(wanted_file(*chance.choice([[bad, good], [bad, bad + "?again", good]]), content=body, path=path))
    return Draw(files, bodies)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_comes_together_a_good_source_is_enough(
    seed: int, server: FaultServer, mirror: FaultServer, run: Run, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    bodies = {f"file{n}": chance.randbytes(chance.choice(SIZES)) for n in range(chance.randrange(1, 5))}
    root = tmp_path / "root"
    options = {"concurrency": chance.randrange(1, 5), "retries": 2}
    alone = draw(chance, server, mirror, bodies)
    # First without the good source: what is left over of that must not harm what follows.
    first = run(*[{**file, "sources": file["sources"][:1]} for file in alone.files], **options)
    if first.get("failed"):
        assert not version_of(root).exists()
        result = run(*draw(chance, server, mirror, bodies).files, **options)
        assert result.get("changed"), result
    assert contents(version_of(root)) == bodies
    assert left_over(root) == []
    for path, body in bodies.items():
        rot(chance, version_of(root) / path, body)
    result = run(*draw(chance, server, mirror, bodies).files, state="verified", **options)
    assert not result.get("failed"), result
    assert contents(version_of(root)) == bodies
    assert left_over(root) == []
    assert run(*alone.files, state="verified")["changed"] is False


def rot(chance: random.Random, path: Path, body: bytes) -> None:
    with path.open("r+b") as file:
        for _byte in range(chance.randrange(4) if body else 0):
            file.seek(chance.randrange(len(body)))
            file.write(chance.randbytes(1))
        if chance.random() < 0.1:
            file.truncate(chance.randrange(len(body) + 1))
