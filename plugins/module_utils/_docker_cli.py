# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Talk to Docker through its command line.

What is asked is built by functions without side effects; `DockerCli` alone starts processes.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

PROJECT_LABEL = "com.docker.compose.project"
STACK_LABEL = "org.emorobcare.fleet.stack"

# What a Compose file could interpolate from our own environment instead of the stack's settings.
INHERITED = ("PATH", "HOME")
INHERITED_PREFIX = "DOCKER_"

_UNAVAILABLE = (
    "Cannot connect to the Docker daemon",
    "failed to connect to the docker API",
    "permission denied while trying to connect",
    "error during connect",
)
_NO_COMPOSE = (
    "'compose' is not a docker command",
    "unknown flag: --ansi",
    "unknown flag: --progress",
    "unknown shorthand flag",
)
_STOP_GRACE = 10.0  # seconds that an interrupted `docker compose` gets to stop by itself
_ANSWER_LIMIT = 60.0  # seconds for a question that the engine answers from memory
_END_GRACE = 5.0  # seconds that a command whose output has ended gets to exit
_PIECE = 64 * 1024  # bytes


class DockerMissing(ReleaseError):
    """There is no `docker` on this host at all, so nothing of a stack can be there either."""


@dataclass(frozen=True)
class Compose:
    """A Compose project as `docker compose` is told of it; paths are absolute, files in the order of merging."""

    project: str
    directory: str
    env_file: str
    files: tuple[str, ...]

    def argv(self, *words: str) -> list[str]:
        files = [word for file in self.files for word in ("--file", file)]
        return [
            *compose_argv(self.project),
            *("--project-directory", self.directory),
            *("--env-file", self.env_file),
            *files,
            *words,
        ]


def compose_argv(project: str) -> list[str]:
    """Return the beginning of each Compose command; without files it goes by the project's labels."""
    return ["docker", "compose", "--ansi", "never", "--progress", "quiet", "--project-name", project]


def list_argv(kind: t.Literal["container", "network", "volume"], project: str) -> list[str]:
    """Return the command that prints the names (of containers the ids) of what belongs to a project."""
    listed = ["--format", "{{.Name}}"]
    if kind == "container":
        listed = ["--quiet", "--all", "--no-trunc", "--filter", "label=com.docker.compose.oneoff=False"]
    return ["docker", kind, "ls", *listed, "--filter", f"label={PROJECT_LABEL}={project}"]


def list_all_argv() -> list[str]:
    """Return the command that prints id and project of each container of any Compose project."""
    form = f'{{{{.ID}}}} {{{{.Label "{PROJECT_LABEL}"}}}}'
    filters = ["--filter", "label=com.docker.compose.oneoff=False", "--filter", f"label={PROJECT_LABEL}"]
    return ["docker", "container", "ls", "--all", "--no-trunc", *filters, "--format", form]


def inspect_argv(ids: t.Sequence[str]) -> list[str]:
    return ["docker", "container", "inspect", "--", *ids]


def image_id_argv(reference: str) -> list[str]:
    return ["docker", "image", "inspect", "--format", "{{.Id}}", "--", reference]


def logs_argv(container: str, lines: int) -> list[str]:
    return ["docker", "container", "logs", "--tail", str(lines), "--", container]


def logs_since_argv(container: str, since: str) -> list[str]:
    """Return the command that prints what was logged since a time (RFC 3339, or seconds since 1970), empty for all."""
    return ["docker", "container", "logs", *(["--since", since] if since else []), "--", container]


def exec_argv(container: str, command: t.Sequence[str], environment: t.Sequence[str]) -> list[str]:
    """Return the command that runs another in a container, with settings (`NAME=value`) besides the container's own."""
    settings = [word for setting in environment for word in ("--env", setting)]
    return ["docker", "container", "exec", *settings, "--", container, *command]


def events_argv(projects: t.Sequence[str], events: t.Sequence[str], since: float, until: float) -> list[str]:
    """Return the command that prints what happens to the containers of Compose projects, between two moments.

    Both are seconds since 1970; what is to come is waited for. Of several projects the events of all projects there are
    come: Docker would want an event to have every label that is named.
    """
    label = f"{PROJECT_LABEL}={projects[0]}" if len(projects) == 1 else PROJECT_LABEL
    filters = [f"label={label}", "type=container", *(f"event={event}" for event in events)]
    chosen = [word for one in filters for word in ("--filter", one)]
    period = ["--since", f"{since:.6f}", "--until", f"{until:.6f}"]
    return ["docker", "events", *period, *chosen, "--format", "{{json .}}"]


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


class Stream(t.Protocol):
    """What a running command prints, both outputs as one, read piece by piece: memory stays as small as a piece."""

    def read(self, timeout: float | None = ...) -> bytes:
        """Return the next piece, empty when there is no more; `timeout` in seconds.

        Raises:
            TimeoutError: nothing came in time.
        """

    def stop(self) -> None:
        """End the command; whoever reads then sees the end."""

    def close(self) -> int:
        """End the command if it has not ended; return its exit code, negative when it was ended so."""


class Docker(t.Protocol):
    """What the rest needs of the command line."""

    def ask(self, argv: t.Sequence[str], timeout: float | None = ...) -> Answer: ...

    def watch(
        self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = ...
    ) -> Answer: ...

    def stream(self, argv: t.Sequence[str]) -> Stream: ...


class DockerCli:
    """Runs `docker` with a small environment: a Compose file sees the stack's settings and nothing of ours.

    Children inherit `keep_open`: a lock held by such a descriptor outlives us as long as a child of ours still acts.
    Those whose output is streamed do not: they only look, and may outlive us without harm.
    """

    def __init__(self, environ: t.Mapping[str, str], keep_open: t.Sequence[int] = ()) -> None:
        self._env = {
            name: value for name, value in environ.items() if name in INHERITED or name.startswith(INHERITED_PREFIX)
        }
        self._env["LC_ALL"] = "C"
        self._keep_open = tuple(keep_open)

    def ask(self, argv: t.Sequence[str], timeout: float | None = _ANSWER_LIMIT) -> Answer:
        """Run a command to its end; `timeout` in seconds.

        Raises:
            ReleaseError: Docker or its Compose plugin is not there or does not answer.
        """
        with self._start(argv, subprocess.PIPE, subprocess.PIPE) as process:
            try:
                stdout, stderr = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise ReleaseError(
                    f"{' '.join(argv[:3])} gave no answer within {timeout:g} s; the Docker engine hangs or is "
                    "overloaded: see its log (journalctl -u docker)",
                    reason="docker_unavailable",
                ) from None
        return checked(Answer(process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace")))

    def watch(self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = 0.5) -> Answer:
        """Run a command that takes its time; stop it when `glance`, called each `every` seconds, says so.

        Returns:
            Its end; with code -1 when it was stopped, by `glance` or because `timeout` (seconds) was over.
        """
        with tempfile.TemporaryFile() as stderr:
            with self._start(argv, subprocess.DEVNULL, stderr) as process:
                code = _wait(process, timeout, glance, every)
            stderr.seek(0)
            return checked(Answer(code, "", stderr.read().decode(errors="replace")))

    def stream(self, argv: t.Sequence[str]) -> Stream:
        """Start a command whose output is read while it runs.

        Raises:
            ReleaseError: Docker is not there.
        """
        return CliStream(self._start(argv, subprocess.PIPE, subprocess.STDOUT, ()))

    def _start(
        self, argv: t.Sequence[str], stdout: int, stderr: int | t.IO[bytes], keep_open: t.Sequence[int] | None = None
    ) -> subprocess.Popen[bytes]:
        try:
            # AnsibleModule.run_command can neither be called from several threads nor watch what it waits for.
            return subprocess.Popen(  # pylint: disable=ansible-bad-function
                argv,
                env=self._env,
                cwd="/",  # a compose.yml in our own folder is none of this project's
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=self._keep_open if keep_open is None else keep_open,
            )
        except FileNotFoundError:
            raise not_installed() from None


class CliStream:
    """What a process of ours prints."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._output = t.cast("t.IO[bytes]", process.stdout)
        self._ended = False

    def read(self, timeout: float | None = None) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise TimeoutError
        piece = os.read(self._output.fileno(), _PIECE)
        self._ended = not piece
        return piece

    def stop(self) -> None:
        self._process.kill()

    def close(self) -> int:
        try:
            self._process.wait(timeout=_END_GRACE if self._ended else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._output.close()
        return self._process.wait()


def _wait(process: subprocess.Popen[bytes], timeout: float, glance: t.Callable[[], bool], every: float) -> int:
    waited = 0.0
    try:
        while waited < timeout:
            try:
                return process.wait(timeout=every)
            except subprocess.TimeoutExpired:
                waited += every
            if glance():
                break
        return -1
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=_STOP_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def not_installed() -> DockerMissing:
    return DockerMissing(
        "the command docker is not on this host; install Docker (role emorobcare.fleet.docker_host)",
        reason="docker_unavailable",
    )


def no_engine(answer: Answer) -> ReleaseError:
    """Return the error that the engine does not answer, with what the command line said."""
    return ReleaseError(
        f"the Docker engine does not answer: {printable(answer.stderr, 300)}. Start it (systemctl start docker), or "
        "run role emorobcare.fleet.docker_host",
        reason="docker_unavailable",
    )


def checked(answer: Answer) -> Answer:
    """Return the answer unless it says that there is no engine or no Compose plugin to answer.

    Raises:
        ReleaseError: with reason `docker_unavailable`.
    """
    if answer.code == 0:
        return answer
    if any(sign in answer.stderr for sign in _UNAVAILABLE):
        raise no_engine(answer)
    if any(sign in answer.stderr for sign in _NO_COMPOSE):
        raise ReleaseError(
            "docker on this host has no Compose plugin of version 2.20 or later; install it (Debian: docker-compose), "
            "or run role emorobcare.fleet.docker_host",
            reason="docker_unavailable",
        )
    return answer


def must(answer: Answer, what: str) -> str:
    """Return what a command printed.

    Raises:
        ReleaseError: it failed; the message says what was tried and what Docker said.
    """
    if answer.code != 0:
        raise ReleaseError(f"{what} failed: {printable(answer.stderr)}", reason="docker_failed")
    return answer.stdout


def read_json(text: str, what: str) -> t.Any:
    """Return what a command printed as JSON.

    Raises:
        ReleaseError: it is no JSON.
    """
    try:
        return json.loads(text)
    except ValueError:
        raise ReleaseError(f"{what} printed no JSON: {printable(text, 200)!r}", reason="docker_failed") from None


def default_cli(keep_open: t.Sequence[int] = ()) -> DockerCli:
    return DockerCli(os.environ, keep_open)
