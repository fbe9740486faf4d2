# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Stream
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import LogView
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_log import LogReader, begin_of_life
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker, Said


def stamp(second: float) -> str:
    return f"1970-01-01T00:{int(second) // 60:02}:{second % 60:09.6f}Z"


def box(started: float, finished: float | None = None) -> Container:
    return Container(
        "c1", "shop-web-1", started_at=stamp(started), finished_at="" if finished is None else stamp(finished)
    )


LIVES = [
    pytest.param(box(100), None, id="in its first life everything counts"),
    pytest.param(box(100, 90), 95.0, id="in a later one what came after the one before"),
    pytest.param(box(100, 130), 99.0, id="of one that has ended what came from its start on, which is noted late"),
    pytest.param(replace(box(100, 130), restarts=1), 99.95, id="and not what came before Docker started it again"),
    pytest.param(replace(box(100, 98), status="exited"), 97.0, id="nor is its own end taken for the end before"),
    pytest.param(Container("c1", "n"), None, id="never started"),
]


@pytest.mark.parametrize(("container", "begin"), LIVES)
def test_a_life_begins_when_its_first_line_may_come(container: Container, begin: float | None) -> None:
    assert begin_of_life(container) == (begin if begin is None else pytest.approx(begin))


class Clock:
    def __init__(self) -> None:
        self.now, self.wall = 0.0, 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall

    def pass_by(self, seconds: float, wall: float | None = None) -> None:
        self.now += seconds
        self.wall += seconds if wall is None else wall


class Docker(NoDocker):
    """Prints one log after the other, each to the same end."""

    def __init__(self, *outputs: bytes, code: int = 0) -> None:
        self._outputs, self._code = list(outputs), code
        self.said: list[str] = []

    def stream(self, argv: t.Sequence[str]) -> Stream:
        self.said.append(" ".join(argv))
        return Said(self._outputs.pop(0), self._code)


def read(docker: Docker, *patterns: str, container: Container | None = None) -> dict[str, LogView]:
    return LogReader(docker)(container or box(100), patterns, 60)


def test_each_pattern_gets_the_first_line_that_matches() -> None:
    views = read(Docker(b"start\r\nready: 1\nready: 2\n\nend"), "ready", "^end$", "never")
    assert views["ready"] == LogView("ready: 1", "end")
    assert views["^end$"] == LogView("end", "end")
    assert views["never"] == LogView(None, "end")


def test_only_what_is_new_is_read_and_what_was_found_stays_found() -> None:
    docker, clock = Docker(b"one\n", b"two\n", b"three\n"), Clock()
    reader = LogReader(docker, clock)
    container = box(100)
    assert reader(container, ["one", "three"], 60)["one"].found == "one"
    clock.pass_by(5)
    assert reader(container, ["one", "three"], 60)["one"].found == "one"
    clock.pass_by(5)
    assert reader(container, ["one", "three"], 60)["three"].found == "three"
    assert docker.said == [
        "docker container logs -- c1",
        "docker container logs --since 999.000000 -- c1",
        "docker container logs --since 1004.000000 -- c1",
    ]
    reader(container, ["one", "three"], 60)
    assert len(docker.said) == 3


@pytest.mark.parametrize(
    ("step", "since"),
    [
        pytest.param(-500.0, 499.0, id="back"),
        pytest.param(+500.0, 999.0, id="forth"),
    ],
)
def test_nothing_is_missed_where_the_wall_clock_is_set(step: float, since: float) -> None:
    docker, clock = Docker(b"", b""), Clock()
    reader = LogReader(docker, clock)
    reader(box(100), ["x"], 60)
    clock.pass_by(5, 5 + step)
    reader(box(100), ["x"], 60)
    assert docker.said[1] == f"docker container logs --since {since:.6f} -- c1"


def test_what_an_earlier_life_logged_does_not_count() -> None:
    docker = Docker(b"ready\n", b"starting\n")
    reader = LogReader(docker)
    assert reader(box(100), ["ready"], 60)["ready"].found == "ready"
    assert reader(box(200, 190), ["ready"], 60)["ready"].found is None
    assert docker.said[1] == "docker container logs --since 195.000000 -- c1"


def test_a_log_that_cannot_be_read_is_no_log() -> None:
    words = b"Error response from daemon: configured logging driver does not support reading\n"
    view = read(Docker(words, code=1), "Error")["Error"]
    assert view.found is None
    assert view.final
    assert view.error == f"its log cannot be read: {words.decode().strip()}"
    assert not read(Docker(b"Error response from daemon: No such container: c1", code=1), "x")["x"].final


def test_a_log_that_does_not_end_in_time_is_read_again_from_where_it_was() -> None:
    docker = Docker(b"line 1\nHANG", b"line 1\nx\n")
    reader = LogReader(docker)
    assert "could not be read to the end within 60 s" in reader(box(100), ["x"], 90)["x"].error
    assert reader(box(100), ["x"], 60)["x"].found == "x"
    assert docker.said[0] == docker.said[1]


def test_an_engine_that_is_gone_is_no_answer_of_the_service() -> None:
    with pytest.raises(ReleaseError, match="systemctl start docker"):
        read(Docker(b"Cannot connect to the Docker daemon at unix:///x.\n", code=1), "x")
