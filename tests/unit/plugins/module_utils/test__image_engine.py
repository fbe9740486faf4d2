# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    INPUT_LABEL,
    Answer,
    Engine,
    Image,
    ImageEngineError,
    Layer,
    NoEngineError,
    engine_environment,
    read_images,
    run_command,
)

INSPECTED: dict[str, t.Any] = {
    "Id": "sha256:aa",
    "RepoTags": ["stack/api:1", "stack/api:2"],
    "Created": "2026-11-21T22:51:05.5+01:00",
    "Size": 1234,
    "Config": {"Labels": {INPUT_LABEL: "f" * 64}},
    "Metadata": {"LastTagTime": "2026-11-21T21:51:06.123456789Z"},
}
IMAGE = Image("sha256:aa", 1234, ("stack/api:1", "stack/api:2"), {INPUT_LABEL: "f" * 64}, 1795297866.1234567)


class Transcript:
    """Answers commands in their order, and fails on any other."""

    def __init__(self, *exchanges: tuple[str, Answer]) -> None:
        self._exchanges = list(exchanges)

    def __call__(self, argv: list[str]) -> Answer:
        command, answer = self._exchanges.pop(0)
        assert " ".join(argv) == command
        return answer


def ok(output: str = "") -> Answer:
    return Answer(0, output, "")


def test_all_images_are_asked_for_at_once_and_missing_ones_are_no_error() -> None:
    # The first wording is engine 20.10's, the second its command line's of version 28.
    errors = "Error: No such image: stack/asr:1\nError response from daemon: no such image: x:1: No such image: x:1\n"
    command = "docker image inspect -- stack/api:1 stack/asr:1 x:1"
    engine = Engine(Transcript((command, Answer(1, json.dumps([INSPECTED]), errors))))
    assert engine.inspect(["stack/api:1", "stack/asr:1", "x:1"]) == {"stack/api:1": IMAGE}


PLATFORMS = [
    pytest.param({"Os": "linux", "Architecture": "amd64"}, "linux/amd64", id="amd64"),
    pytest.param({"Os": "linux", "Architecture": "arm64", "Variant": "v8"}, "linux/arm64", id="arm64 by another word"),
    pytest.param({"Os": "linux", "Architecture": "arm", "Variant": "v7"}, "linux/arm/v7", id="a variant"),
    pytest.param({}, "", id="unknown"),
]


@pytest.mark.parametrize(("said", "platform"), PLATFORMS)
def test_an_image_says_what_it_is_for(said: dict[str, str], platform: str) -> None:
    assert read_images(json.dumps([{**INSPECTED, **said}]))[0].platform == platform


@pytest.mark.parametrize(("said", "platform"), [("linux/amd64\n", "linux/amd64"), ("linux/arm\n", "linux/arm/v7")])
def test_the_engine_says_what_it_is(said: str, platform: str) -> None:
    engine = Engine(Transcript(("docker version --format {{.Server.Os}}/{{.Server.Arch}}", ok(said))))
    assert engine.platform() == platform


def test_nothing_asked_for_is_no_command() -> None:
    assert Engine(Transcript()).inspect([]) == {}


def test_one_image_is_found_by_an_id_that_the_engine_calls_otherwise() -> None:
    engine = Engine(Transcript(("docker image inspect -- sha256:bb", ok(json.dumps([INSPECTED])))))
    assert engine.inspect(["sha256:bb"]) == {"sha256:bb": IMAGE}


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", NoEngineError, "start it"),
        ("permission denied while trying to connect to the Docker daemon socket", ImageEngineError, "use become"),
        ("Error response from daemon: boom", ImageEngineError, "docker image inspect failed with status 1 .*boom"),
        ("Error: No such image: a:1\nError response from daemon: boom", ImageEngineError, "boom"),
    ],
)
def test_other_complaints_are_errors(said: str, kind: type[Exception], message: str) -> None:
    engine = Engine(Transcript(("docker image inspect -- a:1", Answer(1, "[]", said))))
    with pytest.raises(kind, match=message):
        engine.inspect(["a:1"])


def test_versions_are_those_of_ours_with_any_tag() -> None:
    engine = Engine(
        Transcript(
            (
                f"docker image ls --no-trunc --quiet --filter label={INPUT_LABEL} -- stack/api",
                ok("sha256:aa\nsha256:aa\n"),
            ),
            ("docker image inspect -- sha256:aa", ok(json.dumps([INSPECTED]))),
        )
    )
    assert engine.versions("stack/api") == (IMAGE,)


def test_used_images_are_those_of_all_containers() -> None:
    engine = Engine(
        Transcript(
            ("docker container ls --all --quiet --no-trunc", ok("c1\nc2\n")),
            ("docker container inspect --format {{.Image}} -- c1 c2", ok("sha256:aa\nsha256:bb\n")),
        )
    )
    assert engine.used() == {"sha256:aa", "sha256:bb"}


def test_a_container_that_goes_meanwhile_uses_nothing() -> None:
    engine = Engine(
        Transcript(
            ("docker container ls --all --quiet --no-trunc", ok("c1\nc2\n")),
            (
                "docker container inspect --format {{.Image}} -- c1 c2",
                Answer(1, "sha256:aa\n", "Error: No such container: c2"),
            ),
        )
    )
    assert engine.used() == {"sha256:aa"}


def test_no_containers_use_nothing() -> None:
    assert Engine(Transcript(("docker container ls --all --quiet --no-trunc", ok()))).used() == frozenset()


def test_removing_what_is_gone_is_fine_and_what_is_used_is_not() -> None:
    gone = Answer(1, "", "Error response from daemon: No such image: a:1")
    used = Answer(1, "", "Error response from daemon: conflict: unable to remove repository reference")
    Engine(Transcript(("docker image rm -- a:1", gone))).remove("a:1")
    with pytest.raises(ImageEngineError, match=r"docker image rm a:1 failed .*conflict"):
        Engine(Transcript(("docker image rm -- a:1", used))).remove("a:1")


def test_layers_are_read_with_their_steps() -> None:
    answer = ok("8 COPY /x /x # buildkit\n0 USER 1\n50264801 stack/base:1 of Debian trixie\n")
    history = "{{.Size}} {{if .CreatedBy}}{{.CreatedBy}}{{else}}{{.Comment}}{{end}}"
    engine = Engine(Transcript((f"docker image history --human=false --format {history} -- a", answer)))
    assert engine.layers("a") == (
        Layer(8, "COPY /x /x # buildkit"),
        Layer(0, "USER 1"),
        Layer(50264801, "stack/base:1 of Debian trixie"),
    )


@pytest.mark.parametrize(
    ("metadata", "created", "tagged"),
    [
        ({"LastTagTime": "0001-01-01T00:00:00Z"}, "1970-01-01T00:01:00Z", 60.0),
        ({}, "1970-01-01T01:01:00.5+01:00", 60.5),
        (None, "", 0.0),
    ],
    ids=["never tagged", "no tag time", "no time at all"],
)
def test_an_image_without_a_tag_time_counts_from_its_making(metadata: object, created: str, tagged: float) -> None:
    raw = {**INSPECTED, "Metadata": metadata, "Created": created}
    assert read_images(json.dumps([raw]))[0].tagged == tagged


def test_an_image_without_tags_and_labels_is_read() -> None:
    image = read_images(json.dumps([{**INSPECTED, "RepoTags": None, "Config": None}]))[0]
    assert (image.references, image.input) == ((), None)


@pytest.mark.parametrize("output", ["{", '["x"]', '[{"Id": "a"}]', "3"])
def test_an_answer_that_is_no_answer_is_an_error(output: str) -> None:
    with pytest.raises(ImageEngineError, match="cannot be read"):
        read_images(output)


def test_builders_of_the_user_do_not_count_and_messages_can_be_read() -> None:
    environment = engine_environment({"BUILDX_BUILDER": "remote", "HOME": "/root", "LC_ALL": "es_ES.UTF-8"})
    assert "BUILDX_BUILDER" not in environment
    assert (environment["HOME"], environment["LC_ALL"], environment["DOCKER_BUILDKIT"]) == ("/root", "C.UTF-8", "1")


def test_a_host_without_docker_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NoEngineError, match="no docker command"):
        run_command(["docker", "image", "ls"])
