# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A release on one side of a host: its Compose projects, and what connects them.

A stage without a colour is one project of the stack's name, replaced in place. One with a colour is the stack's data
and a side, as `_release_parts` splits them; the ingress in front of both sides is in `_release_ingress`.
"""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    PROJECT_LABEL,
    STACK_LABEL,
    Compose,
    Docker,
    list_argv,
    must,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import encode
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import ask_all, take_down
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import write_file, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import (
    COLOURS,
    DATA,
    INGRESS,
    Colour,
    Link,
    Parts,
    Volume,
    project_of,
    skipping,
    split,
    without,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable


@dataclass(frozen=True)
class Stage:
    """Where a release runs, or is to run. `data` is None without a colour, and where nothing is stateful."""

    stack: str
    colour: Colour | None
    side: Compose
    data: Compose | None = None
    parts: Parts | None = None

    @property
    def projects(self) -> tuple[str, ...]:
        """Its Compose projects, the ingress excepted."""
        return (self.side.project, *((self.data.project,) if self.data else ()))


def all_projects(stack: str) -> tuple[str, ...]:
    """Return every Compose project that a stack may have on a host, the ingress last."""
    return (stack, *(project_of(stack, part) for part in (DATA, *COLOURS, INGRESS)))


def make_stage(
    stack: str,
    colour: Colour | None,
    compose: Compose,
    config: t.Mapping[str, t.Any],
    lifecycles: t.Mapping[str, str],
    path_of: t.Callable[[str], str],
) -> Stage:
    """Return the stage of a release; on a side, write the Compose files of its parts.

    Args:
        colour: the side, None for a release that is replaced in place.
        compose: the release's own files, of which `config` is what Compose makes of them.
        path_of: where the file of a part goes.

    Raises:
        ReleaseError: something cannot be translated (`release_invalid`) or written (`write_failed`).
    """
    if colour is None:
        return Stage(stack, None, compose)
    parts = split(config, stack, colour, lifecycles)
    composes: dict[str, Compose] = {}
    for part, content in ((DATA, parts.data), (colour, parts.side)):
        path = path_of(part)
        with writing("the settings"):
            write_file(path, encode(content), 0o600)
        composes[part] = dataclasses.replace(compose, project=project_of(stack, part), files=(path,))
    data = composes[DATA] if parts.data["services"] else None
    return Stage(stack, colour, composes[colour], data, parts)


def skip_jobs(stage: Stage, config: t.Mapping[str, t.Any], jobs: t.Collection[str]) -> Stage:
    """Return the stage without these jobs, and without anything waiting for them.

    Hashes stay as they are: Compose leaves dependencies out of them.

    Args:
        config: the whole project as Compose resolves it.
    """
    if stage.parts is None:
        content, path = skipping(config, jobs).encode(), f"{stage.side.files[-1]}.skipped.yml"
        files = (*stage.side.files, path)
    else:
        stage = dataclasses.replace(stage, parts=dataclasses.replace(stage.parts, side=without(stage.parts.side, jobs)))
        path = stage.side.files[0]
        content, files = encode(t.cast(Parts, stage.parts).side), stage.side.files
    with writing("the settings"):
        write_file(path, content, 0o600)
    return dataclasses.replace(stage, side=dataclasses.replace(stage.side, files=files))


def make_volumes(docker: Docker, stack: str, volumes: t.Iterable[Volume]) -> None:
    """Create the named volumes that are not there yet.

    They are labelled as Compose labels those of a project, so that a stack keeps its data however it is replaced.
    """
    for volume in volumes:
        labels = {STACK_LABEL: stack, PROJECT_LABEL: stack, "com.docker.compose.volume": volume.key}
        argv = ["docker", "volume", "create", "--driver", volume.driver]
        argv += [f"--label={name}={value}" for name, value in labels.items()]
        argv += [f"--opt={name}={value}" for name, value in volume.options.items()]
        if docker.ask(["docker", "volume", "inspect", "--", volume.name]).code != 0:
            must(docker.ask([*argv, "--", volume.name]), f"docker volume create {volume.name}")


def attach(docker: Docker, containers: t.Iterable[Container], links: t.Iterable[Link]) -> None:
    """Attach stateful services to the networks of a side.

    Raises:
        ReleaseError: the engine refuses (`docker_failed`).
    """
    by_service: dict[str, list[Container]] = {}
    for container in containers:
        by_service.setdefault(container.service, []).append(container)
    for link in links:
        for container in by_service.get(link.service, ()):
            if link.network not in container.networks:
                connect(docker, link.network, container.id, link.aliases)


def connect(docker: Docker, network: str, container: str, aliases: t.Iterable[str] = ()) -> None:
    names = [f"--alias={alias}" for alias in aliases]
    answer = docker.ask(["docker", "network", "connect", *names, "--", network, container])
    if answer.code != 0 and "already exists in network" not in answer.stderr:
        must(answer, f"docker network connect {network}")


def clear(docker: Docker, projects: t.Iterable[str]) -> None:
    """Take projects down with their networks, whatever else is attached to those.

    Raises:
        ReleaseError: something could not be removed (`removal_failed`).
    """
    for project in projects:
        networks = must(docker.ask(list_argv("network", project)), "docker network ls").split()
        own = {container.id for container in look(docker, project)}
        for network in networks:
            _detach_others(docker, network, own)
        take_down(docker, project)
        for network in must(docker.ask(list_argv("network", project)), "docker network ls").split():
            answer = docker.ask(
                ["docker", "network", "rm", "--", network]
            )  # what Compose leaves of a half-made project
            if answer.code != 0 and "not found" not in answer.stderr:
                raise ReleaseError(
                    f"docker network rm {network} failed: {printable(answer.stderr)}", reason="removal_failed"
                )


def left_over(docker: Docker, stack: str, stages: t.Iterable[Stage], ingress: bool) -> list[str]:
    """Return the projects of the stack that exist and that none of the stages has.

    Args:
        ingress: whether the stack is to have one.
    """
    wanted = {project for stage in stages for project in stage.projects}
    wanted |= {project_of(stack, INGRESS)} if ingress else set()
    others = [project for project in all_projects(stack) if project not in wanted]
    kinds: list[t.Literal["container", "network"]] = ["container", "network"]
    answers = ask_all(docker, [list_argv(kind, project) for project in others for kind in kinds])
    found = [bool(must(answer, "docker ls").strip()) for answer in answers]
    return [project for place, project in enumerate(others) if any(found[2 * place : 2 * place + 2])]


def _detach_others(docker: Docker, network: str, own: t.Collection[str]) -> None:
    """Detach whatever else is attached: what has ended too, which could not be started any more without the network."""
    argv = ["docker", "container", "ls", "--all", "--quiet", "--no-trunc", "--filter", f"network={network}"]
    for container in must(docker.ask(argv), "docker container ls").split():
        if container not in own:
            docker.ask(["docker", "network", "disconnect", "--force", "--", network, container])
