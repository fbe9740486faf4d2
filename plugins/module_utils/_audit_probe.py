# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Whether the program of an image's health check can start in it, tried for real in a container that can do nothing.

A service that is not there is unhealthy, and that is fine: only a probe that cannot start is a fault. Some shells
and scripts hide that in an ordinary status, so what is said counts besides the status.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import typing as t
import uuid

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import Config, Probe
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    Answer,
    ImageEngineError,
    NoEngineError,
    engine_environment,
    engine_error,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start

_PATIENCE = 15  # seconds; a probe that still runs has started
_CANNOT_START = re.compile(
    r"^(?:/?\S*sh|\S*/busybox): (?:line )?(?:\d+: )?.*: (?:command )?not found$"
    r"|can't open file .*No such file or directory"
    r"|^(?:ModuleNotFoundError|ImportError): .*|: No module named \S+$"
    r"|^Error: Cannot find module .*|Could not find or load main class .*"
    r"|error while loading shared libraries: .*|Error (?:loading|relocating) \S+: .*"
    r"|exec user process caused: .*|^exec \S+: (?:no such file or directory|permission denied)"
    r"|^.*: (?:bad interpreter|Exec format error|exec format error).*",
    re.MULTILINE,
)
_NO_PROGRAM = re.compile(r"exec: .*|.*executable file not found.*|.*: permission denied.*", re.IGNORECASE)


def probe_command(config: Config) -> list[str]:
    """Return the command of a health check; raise ValueError if its form is not one of Docker's."""
    kind, words = config.health[0], list(config.health[1:])
    if kind == "CMD" and words:
        return words
    if kind == "CMD-SHELL" and len(words) == 1:
        return [*config.shell, words[0]]
    raise ValueError(f"HEALTHCHECK {kind} is not of the form CMD or CMD-SHELL")


def probe_argv(image: str, name: str, command: t.Sequence[str]) -> list[str]:
    """Return the command that runs a probe as the stacks run their services, and with no network."""
    return [
        "docker",
        "container",
        "run",
        f"--name={name}",
        "--rm",
        "--pull=never",
        "--network=none",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges:true",
        "--tmpfs=/tmp:size=32m,mode=1777,noexec,nosuid,nodev",
        "--memory=512m",
        "--pids-limit=128",
        f"--entrypoint={command[0]}",
        "--",
        image,
        *command[1:],
    ]


def read_probe(answer: Answer) -> Probe:
    """Tell by what came of it whether a probe could start.

    :raises ImageEngineError: the engine could not run a container at all.
    """
    said = f"{answer.errors}\n{answer.output}"
    if answer.status in (125, 126, 127):
        cause = _NO_PROGRAM.search(said) or _CANNOT_START.search(said)
        if answer.status == 125 and cause is None:
            raise engine_error("docker container run", answer)
        text = cause[0].strip() if cause else (said.strip().splitlines() or ["it said nothing"])[0]
        return Probe(False, f"the probe cannot start (status {answer.status}): {_short(text)}")
    cause = _CANNOT_START.search(said) if answer.status else None
    return (
        Probe(False, f"the probe cannot start (status {answer.status}): {_short(cause[0])}") if cause else Probe(True)
    )


def _short(text: str) -> str:
    text = re.sub(r"^docker: Error response from daemon: ", "", text)
    return text if len(text) <= 200 else text[:199] + "…"


def run_probe(image: str, config: Config) -> Probe:
    """Run an image's health check once, in a container that is removed again.

    :raises ImageEngineError: the engine could not run a container at all.
    """
    try:
        command = probe_command(config)
    except ValueError as exc:
        return Probe(False, str(exc))
    name = f"fleet-audit-{uuid.uuid4().hex[:12]}"
    try:
        process = start(probe_argv(image, name, command), engine_environment(os.environ))
    except FileNotFoundError as exc:
        raise NoEngineError(f"there is no {exc.filename} command on this host; install Docker") from None
    try:
        output, errors = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return Probe(True)
    finally:
        if process.poll() is None:
            _remove(name)
            process.kill()
            process.communicate()
    return read_probe(Answer(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace")))


def _remove(name: str) -> None:
    with contextlib.suppress(FileNotFoundError, ImageEngineError):
        argv = ["docker", "container", "rm", "--force", "--volumes", "--", name]
        start(argv, engine_environment(os.environ)).communicate()
