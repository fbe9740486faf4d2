# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the image modules ask of a Docker engine through its command line, and how they read the answers."""

from __future__ import annotations

import datetime
import json
import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import platform_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start

INPUT_LABEL = "org.emorobcare.fleet.input"

# An imported image has no command that made it, only what it was imported with.
_HISTORY = "{{.Size}} {{if .CreatedBy}}{{.CreatedBy}}{{else}}{{.Comment}}{{end}}"
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")
_NO_SUCH_IMAGE = re.compile(r"no such image", re.IGNORECASE)
_NO_ENGINE = re.compile(r"cannot connect to the docker daemon|is the docker daemon running", re.IGNORECASE)


class ImageEngineError(Exception):
    """The engine refused or gave an answer that cannot be read; the message is for the user."""


class NoEngineError(ImageEngineError):
    """There is no docker command, or no engine behind it."""


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True)
class Image:
    """An image that the engine has. Size in bytes, as the engine reports it; tagged in seconds since the epoch.

    The platform is what the image says it is for, as Docker writes it: linux/arm64.
    """

    id: str
    size: int
    references: tuple[str, ...]
    labels: t.Mapping[str, str]
    tagged: float
    platform: str = ""

    @property
    def input(self) -> str | None:
        """The digest of what the image was made from, if it says."""
        return self.labels.get(INPUT_LABEL)


@dataclass(frozen=True)
class Layer:
    """A step of an image's history and the bytes that it added."""

    size: int
    step: str


Run = t.Callable[[list[str]], Answer]


def engine_environment(inherited: t.Mapping[str, str]) -> dict[str, str]:
    """Return the environment for docker: messages that can be read, and BuildKit in the engine itself.

    A builder that the user chose for other work could not put its result into the engine, hence no BUILDX_BUILDER.
    """
    environment = {name: value for name, value in inherited.items() if name != "BUILDX_BUILDER"}
    return {
        **environment,
        "LC_ALL": "C.UTF-8",
        "DOCKER_BUILDKIT": "1",
        "BUILDKIT_COLORS": "",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        "DOCKER_CLI_HINTS": "false",
    }


def run_command(argv: list[str]) -> Answer:
    """Run a docker command to its end."""
    try:
        process = start(argv, engine_environment(os.environ))
    except FileNotFoundError as exc:
        raise NoEngineError(f"there is no {exc.filename} command on this host; install Docker") from None
    output, errors = process.communicate()
    return Answer(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


class Engine:
    """A Docker engine's images."""

    def __init__(self, run: Run = run_command) -> None:
        self._run = run

    def platform(self) -> str:
        """Return the engine's own platform, such as linux/amd64."""
        answer = self._checked(["docker", "version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"])
        return platform_name(*answer.output.strip().partition("/")[::2])

    def inspect(self, references: t.Sequence[str]) -> dict[str, Image]:
        """Return those of the images that exist, by the reference they were asked for with. One command for all."""
        if not references:
            return {}
        answer = self._run(["docker", "image", "inspect", "--", *references])
        complaints = [line for line in answer.errors.splitlines() if line.strip()]
        if answer.status != 0 and not all(_NO_SUCH_IMAGE.search(line) for line in complaints):
            raise engine_error("docker image inspect", answer)
        images = read_images(answer.output)
        if len(references) == 1:
            return dict(zip(references, images))
        return {
            reference: image
            for reference in references
            for image in images
            if reference in image.references or reference == image.id
        }

    def versions(self, name: str) -> tuple[Image, ...]:
        """Return the images with any tag of this name that carry an input label."""
        answer = self._checked(
            ["docker", "image", "ls", "--no-trunc", "--quiet", "--filter", f"label={INPUT_LABEL}", "--", name]
        )
        ids = sorted(set(answer.output.split()))
        return tuple(self.inspect(ids).values())

    def layers(self, image: str) -> tuple[Layer, ...]:
        """Return an image's history, the newest step first."""
        answer = self._checked(["docker", "image", "history", "--human=false", "--format", _HISTORY, "--", image])
        steps = (line.partition(" ") for line in answer.output.splitlines())
        return tuple(Layer(int(size), step.strip()) for size, _space, step in steps if size.isdigit())

    def used(self) -> frozenset[str]:
        """Return the ids of the images of all containers, running or not."""
        containers = self._checked(["docker", "container", "ls", "--all", "--quiet", "--no-trunc"]).output.split()
        if not containers:
            return frozenset()
        answer = self._run(["docker", "container", "inspect", "--format", "{{.Image}}", "--", *containers])
        if answer.status != 0 and "no such container" not in answer.errors.lower():
            raise engine_error("docker container inspect", answer)
        return frozenset(answer.output.split())

    def tag(self, image: str, reference: str) -> None:
        """Give an image a reference, and take that from any other image."""
        self._checked(["docker", "image", "tag", "--", image, reference])

    def remove(self, reference: str) -> None:
        """Take a reference, and the image if that was its last; one that is gone already is fine."""
        answer = self._run(["docker", "image", "rm", "--", reference])
        if answer.status != 0 and not _NO_SUCH_IMAGE.search(answer.errors):
            raise engine_error(f"docker image rm {reference}", answer)

    def _checked(self, argv: list[str]) -> Answer:
        answer = self._run(argv)
        if answer.status != 0:
            raise engine_error(" ".join(argv[:3]), answer)
        return answer


def engine_error(command: str, answer: Answer) -> ImageEngineError:
    """Return the error for a docker command that failed."""
    said = answer.errors.strip() or answer.output.strip() or "nothing"
    if _NO_ENGINE.search(said):
        return NoEngineError(f"no Docker engine answers on this host; start it. {command} said: {said}")
    if "permission denied" in said.lower():
        return ImageEngineError(f"this user may not talk to the Docker engine; use become. {command} said: {said}")
    return ImageEngineError(f"{command} failed with status {answer.status} and said: {said}")


def read_images(output: str) -> tuple[Image, ...]:
    """Read what docker image inspect printed."""
    try:
        return tuple(_read_image(raw) for raw in json.loads(output or "[]"))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ImageEngineError(
            f"docker image inspect gave an answer that cannot be read ({exc}): {output[:200]}"
        ) from exc


def _read_image(raw: dict[str, t.Any]) -> Image:
    tagged = _seconds((raw.get("Metadata") or {}).get("LastTagTime") or "")
    return Image(
        id=raw["Id"],
        size=int(raw["Size"]),
        references=tuple(raw.get("RepoTags") or ()),
        labels=dict((raw.get("Config") or {}).get("Labels") or {}),
        tagged=tagged if tagged > 0 else _seconds(raw.get("Created") or ""),
        platform=platform_name(raw.get("Os") or "", raw.get("Architecture") or "", raw.get("Variant") or ""),
    )


def _seconds(timestamp: str) -> float:
    """Read the engine's times (nanoseconds, any zone), which older Pythons cannot; 0 where there is none."""
    parts = _TIME.fullmatch(timestamp)
    if parts is None or timestamp.startswith("0001-"):
        return 0.0
    zone = "+00:00" if parts[3] == "Z" else parts[3]
    return datetime.datetime.fromisoformat(parts[1] + zone).timestamp() + float(f"0{parts[2] or '.0'}")
