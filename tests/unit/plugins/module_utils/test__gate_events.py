# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Stream
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_events import Event, Events, parse_event
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import End
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import WAIT, NoDocker, Pipe


def event(action: str, project: str = "shop", container: str = "c1") -> str:
    """As Docker 28 prints it, shortened."""
    attributes = {"com.docker.compose.project": project, "exitCode": "137", "image": "i", "name": "shop-web-1"}
    data = {"status": action, "id": container, "Type": "container", "Action": action, "scope": "local"}
    return json.dumps({**data, "Actor": {"ID": container, "Attributes": attributes}, "timeNano": 1})


LINES = [
    pytest.param(event("die"), Event("die", "c1", 137), id="of the project"),
    pytest.param(event("health_status: healthy"), Event("health_status: healthy", "c1", 137), id="health"),
    pytest.param(event("die", "other"), None, id="of another project"),
    pytest.param('{"Action": "die", "Actor": {"ID": "c1", "Attributes": {}}}', None, id="of no project"),
    pytest.param('{"Action": "die", "Actor": null}', None, id="of nobody"),
    pytest.param("error during connect: EOF", None, id="no JSON"),
    pytest.param("[]", None, id="no object"),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_a_line_is_read(line: str, expected: Event | None) -> None:
    assert parse_event(line, ["shop", "shop-data"]) == expected


class Docker(NoDocker):
    def __init__(self, stream: Stream | ReleaseError) -> None:
        self._stream = stream
        self.said: list[str] = []

    def stream(self, argv: t.Sequence[str]) -> Stream:
        self.said.append(" ".join(argv))
        if isinstance(self._stream, ReleaseError):
            raise self._stream
        return self._stream


def test_what_happens_rings_once_wherever_the_pieces_are_cut() -> None:
    pipe = Pipe()
    line = f"{event('start')}\n".encode()
    with Events(Docker(pipe), ["shop"], WAIT) as events:
        pipe.write(line[:10], line[10:])
        assert events.wait(WAIT)
        assert not events.wait(0)
    assert pipe.closed


def test_what_happens_elsewhere_does_not_ring() -> None:
    pipe = Pipe()
    with Events(Docker(pipe), ["shop"], WAIT) as events:
        pipe.write(f"{event('die', 'other')}\n".encode())
        assert not events.wait(0.05)
        assert events.ended == {}


def test_how_a_life_ended_is_remembered() -> None:
    pipe = Pipe()
    with Events(Docker(pipe), ["shop"], WAIT) as events:
        for action, end in (("oom", None), ("die", End(137, True)), ("start", End(137, True)), ("die", End(137))):
            pipe.write(f"{event(action)}\n".encode())
            assert events.wait(WAIT)
            assert events.ended.get("c1") == end


def test_a_stream_that_ends_rings_once_and_is_silent_then() -> None:
    pipe = Pipe()
    with Events(Docker(pipe), ["shop"], WAIT) as events:
        pipe.write(b"")
        assert events.wait(WAIT)
        assert not events.wait(0.01)


def test_without_a_stream_there_is_silence() -> None:
    docker = Docker(ReleaseError("no docker", reason="docker_unavailable"))
    with Events(docker, ["shop"], WAIT) as events:
        assert not events.wait(0.01)


def test_docker_is_asked_for_what_matters_and_for_what_happened_while_the_stream_opened() -> None:
    docker = Docker(Pipe())
    with Events(docker, ["shop"], WAIT):
        pass
    (said,) = docker.said
    words = said.split()
    assert words[:3] == ["docker", "events", "--since"]
    assert float(words[5]) == pytest.approx(float(words[3]) + WAIT)
    assert "--filter label=com.docker.compose.project=shop --filter type=container" in said
    assert "--filter event=health_status" in said
    assert "exec" not in said
