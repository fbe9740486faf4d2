# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""How BuildKit is asked to build an image, and what its complaints mean. Nothing here runs it."""

from __future__ import annotations

import re
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_debian import SOURCE_DATE_EPOCH
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import INPUT_LABEL
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_plan import Wanted

STACK_LABEL = "org.emorobcare.fleet.stack"

# The last lines of a failed step are where programs say why.
_TAIL = 25
_STEP_WIDTH = 120  # characters of a step that are shown

_STEP = re.compile(r"^#(\d+) (\[.+\].*)$")
_FAILED = re.compile(r"^#(\d+) ERROR: (.*)$")
_OUTPUT = re.compile(r"^#(\d+) \d+\.\d+ (.*)$")
_FINAL = re.compile(r"^(?:ERROR: )?failed to (?:build|solve): (.*)$|^ERROR: (.*)$")
_COMMAND = re.compile(
    r'^(?:executor failed running \[.*\]|process ".*" did not complete successfully): (?=exit code)', re.S
)
_NOISE = re.compile(
    r"^(?:rpc error: code = \w+ desc = |failed to solve with frontend [\w.]+: |failed to create LLB definition: )"
)
# As resolvers, pip, npm and apt say it.
_NO_NETWORK = re.compile(
    r"name resolution|Network is unreachable|No matching distribution|Could not resolve|EAI_AGAIN|ENOTFOUND", re.I
)
_SECRET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ImageBuildError(Exception):
    """An image cannot be built; the message is for the user."""


@dataclass(frozen=True)
class Secret:
    """A file of the host that a build may mount and never keeps."""

    id: str
    path: str

    def __post_init__(self) -> None:
        if not _SECRET_ID.fullmatch(self.id):
            raise ImageBuildError(f"secrets: {self.id!r} must be of letters, digits, dots, dashes and underscores")
        if not self.path.startswith("/") or any(character in self.path for character in ',"\n'):
            raise ImageBuildError(
                f"secrets.{self.id} is {self.path!r}: use an absolute path on the host, without commas or quotes"
            )


@dataclass(frozen=True)
class Build:
    """One image to build from a context's archive on the host."""

    wanted: Wanted
    context: str
    dockerfile: str = "Dockerfile"
    args: t.Mapping[str, str] = field(default_factory=dict)
    offline: bool = False  # its steps have no network


def build_argv(build: Build, secrets: t.Iterable[Secret], labels: t.Mapping[str, str], id_file: str) -> list[str]:
    """Return the command that builds from the archive on its standard input and writes the image's id to a file.

    There is no tag: the image gets its reference only once it was looked at. `docker build` with BuildKit is the
    same thing as `docker buildx build` with the engine's own builder, and needs no plugin before Docker 23.
    """
    target = build.wanted.target
    return [
        "docker",
        "build",
        "--progress=plain",
        *([f"--platform={target.name}"] if target.foreign else []),
        f"--iidfile={id_file}",
        f"--file={build.dockerfile}",
        *(["--network=none"] if build.offline else []),
        *(f"--label={name}={value}" for name, value in sorted(labels.items())),
        *(f"--build-arg={name}={value}" for name, value in sorted(build.args.items())),
        *(f"--secret=id={secret.id},src={secret.path}" for secret in secrets),
        "-",
    ]


def image_labels(wanted: Wanted, revision: str | None = None, source: str | None = None) -> dict[str, str]:
    """Return the labels of an image that is built: ours, and those of the OCI's annotations that are known.

    The time among them is the one that is in all images, so that the same input gives the same labels.
    """
    labels = {
        INPUT_LABEL: wanted.input,
        STACK_LABEL: wanted.name.partition("/")[0],
        "org.opencontainers.image.created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(SOURCE_DATE_EPOCH)),
        "org.opencontainers.image.title": wanted.name,
        "org.opencontainers.image.version": wanted.tag,
    }
    known = {"org.opencontainers.image.revision": revision, "org.opencontainers.image.source": source}
    return {**labels, **{name: value for name, value in known.items() if value}}


@dataclass(frozen=True)
class Failure:
    """What went wrong in a build: the Dockerfile's step, its last lines, the builder's own words, the way out."""

    step: str | None
    lines: tuple[str, ...]
    error: str
    advice: str

    def __str__(self) -> str:
        # A step and the command that ran for it say the same, at length.
        error = _COMMAND.sub("", self.error) if self.step else self.error
        where = f"step {_shortened(self.step)} failed: {error}" if self.step else error
        said = "\nThe last lines of its output:\n" + "\n".join(f"  {line}" for line in self.lines) if self.lines else ""
        return f"{where}{'. ' + self.advice if self.advice else ''}{said}"


def _shortened(step: str) -> str:
    flat = " ".join(step.split())
    return flat if len(flat) <= _STEP_WIDTH else f"{flat[: _STEP_WIDTH - 1]}…"


def read_failure(output: str, offline: bool = False) -> Failure:
    """Read the plain progress of a build that failed (BuildKit in engine 20.10 and later, buildx 0.10 and later).

    :param offline: its steps had no network.
    """
    steps: dict[str, str] = {}
    said: dict[str, list[str]] = {}
    failed, error = None, ""
    for line in output.splitlines():
        if match := _STEP.match(line):
            steps.setdefault(match[1], match[2])
        elif match := _OUTPUT.match(line):
            said.setdefault(match[1], []).append(match[2])
        elif match := _FAILED.match(line):
            failed, error = match[1], match[2]
        elif match := _FINAL.match(line):
            error = error or match[1] or match[2]
    while match := _NOISE.match(error):
        error = error[match.end() :]
    lines = tuple(said.get(failed or "", [])[-_TAIL:])
    if not error:
        # Older command lines end with the bare error, and without its step if another build ran into it at that time.
        error = next((line for line in reversed(output.splitlines()) if line.strip()), "docker build said nothing")
    step = steps.get(failed or "")
    return Failure(step, lines, error, _advice(f"{error}\n{' '.join(lines)}", step, offline))


def _advice(text: str, step: str | None, offline: bool) -> str:
    for pattern, advice in (
        (r"no space left on device", "The engine's disk is full: free some space and build again"),
        (r"secret \S+ not found|secret \S+: not found", "Name that secret and its file on the host in secrets"),
        (
            r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLCertVerificationError",
            "Behind a proxy that inspects TLS, give its authority as a secret and mount that in the step",
        ),
    ):
        if re.search(pattern, text, re.IGNORECASE):
            return advice
    if offline and _NO_NETWORK.search(text):
        return (
            "This build has no network, and the builder's cache lacks what the step wants: build once with a network "
            "(offline: false), or bring the cache of a machine that did (cache_directory)"
        )
    if step and step.startswith("[internal] load metadata for "):
        return (
            "That base image is not on this host and no registry gave it: make bases from a Debian archive, or give "
            "the host a registry that it reaches"
        )
    return ""
