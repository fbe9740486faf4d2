# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _image_builder
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_build import Build, ImageBuildError, image_labels
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_builder import build_image
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    INPUT_LABEL,
    Engine,
    Image,
    ImageEngineError,
    Layer,
    NoEngineError,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_plan import ImagePlanError, Wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import PLATFORMS, Target

WANTED = Wanted("stack/api:aaaa", "a" * 64, max_size=1000)


class Images(Engine):
    """An engine whose only image is the one that was just built."""

    def __init__(self, image: Image | None) -> None:
        super().__init__(lambda argv: pytest.fail(f"unexpected command {argv}"))
        self.image = image
        self.tagged: list[tuple[str, str]] = []
        self.removed: list[str] = []

    def inspect(self, references: object) -> dict[str, Image]:
        return {} if self.image is None else {"sha256:new": self.image}

    def layers(self, image: str) -> tuple[Layer, ...]:
        return (Layer(2000, "COPY everything"),)

    def tag(self, image: str, reference: str) -> None:
        self.tagged.append((image, reference))

    def remove(self, reference: str) -> None:
        self.removed.append(reference)
        raise ImageEngineError("another reference holds it")


def built(size: int = 10, made_from: str = "a" * 64) -> Image:
    return Image("sha256:new", size, (), {INPUT_LABEL: made_from}, 1.0)


@pytest.fixture(name="docker")
def docker_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command that keeps what it was given, writes an image's id, and does what the file `script` says."""
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/words\ncat >{tmp_path}/input\n'
        f"printf sha256:new >{tmp_path}/image-id\n[ ! -f {tmp_path}/script ] || . {tmp_path}/script\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    monkeypatch.setattr(_image_builder, "settle_image", lambda _image, _epoch, _tmpdir: "sha256:settled")
    (tmp_path / "context.tar").write_bytes(b"the context")
    return tmp_path


def build(engine: Engine, home: Path, context: str = "context.tar") -> Image:
    return build_image(engine, Build(WANTED, str(home / context)), [], image_labels(WANTED), str(home))


def test_an_image_that_is_right_gets_its_reference(docker: Path) -> None:
    engine = Images(built())
    assert build(engine, docker) == dataclasses.replace(built(), id="sha256:settled")
    assert engine.tagged == [("sha256:settled", "stack/api:aaaa")]
    assert engine.removed == ["sha256:new"]
    assert (docker / "input").read_bytes() == b"the context"


@pytest.mark.parametrize(
    ("image", "kind", "message"),
    [
        pytest.param(built(size=1001), ImagePlanError, "too large: 1001 B.* COPY everything", id="too large"),
        pytest.param(
            built(made_from="b" * 64), ImageBuildError, "take LABEL .* out of the Dockerfile", id="relabelled"
        ),
    ],
)
def test_an_image_that_is_not_what_was_asked_for_goes_and_gets_no_reference(
    docker: Path, image: Image, kind: type[Exception], message: str
) -> None:
    engine = Images(image)
    with pytest.raises(kind, match=f"(?s){message}"):
        build(engine, docker)
    assert (engine.tagged, engine.removed) == ([], ["sha256:new"])


@pytest.mark.parametrize(
    ("platform", "tagged"), [("linux/arm64", [("sha256:settled", "stack/api:aaaa-arm64")]), ("linux/amd64", [])]
)
def test_an_image_for_another_platform_than_was_asked_for_gets_no_reference(
    docker: Path, platform: str, tagged: list[tuple[str, str]]
) -> None:
    wanted = WANTED.on(Target(PLATFORMS[1], foreign=True))
    engine = Images(dataclasses.replace(built(made_from=wanted.input), platform=platform))
    order = Build(wanted, str(docker / "context.tar"))
    if tagged:
        build_image(engine, order, [], image_labels(wanted), str(docker))
    else:
        with pytest.raises(ImageBuildError, match=r"for linux/amd64 and not linux/arm64; take --platform out"):
            build_image(engine, order, [], image_labels(wanted), str(docker))
    assert engine.tagged == tagged
    assert "--platform=linux/arm64" in (docker / "words").read_text().split()


def test_an_image_that_the_engine_does_not_have_is_an_error(docker: Path) -> None:
    with pytest.raises(ImageBuildError, match="does not have the image"):
        build(Images(None), docker)


def test_a_build_that_fails_gives_no_reference_though_an_id_of_an_earlier_one_lies_about(docker: Path) -> None:
    (docker / "script").write_text("echo '#5 [1/1] RUN false'; echo '#5 ERROR: exit code: 1'; exit 1\n")
    engine = Images(built())
    with pytest.raises(
        ImageBuildError, match=r"stack/api:aaaa cannot be built: step \[1/1\] RUN false failed: exit code: 1"
    ):
        build(engine, docker)
    assert engine.tagged == []


def test_an_engine_that_goes_is_told_apart_from_a_build_that_fails(docker: Path) -> None:
    (docker / "script").write_text("echo 'ERROR: Cannot connect to the Docker daemon at unix:///x.' >&2; exit 1\n")
    with pytest.raises(NoEngineError, match="start it"):
        build(Images(built()), docker)


def test_a_context_that_is_missing_and_a_docker_that_is_missing_are_told_apart(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageBuildError, match=r"archive .*nope\.tar does not exist"):
        build(Images(built()), docker, "nope.tar")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NoEngineError, match="no docker command"):
        build(Images(built()), docker)
