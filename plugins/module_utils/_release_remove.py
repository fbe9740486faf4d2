# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Take a stack off a host: its containers, networks and built images; with `data`, all that is left of it too."""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import inspect, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    STACK_LABEL,
    Docker,
    DockerMissing,
    list_argv,
    must,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import ask_all
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import (
    has_data,
    load_journal,
    remove_data,
    save_journal,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import all_projects, clear
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

_UNTAGGED = "<none>"


@dataclass(frozen=True)
class Belongings:
    """What a stack has on the engine, by name; `images` by id where they have none."""

    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(dataclasses.astuple(self))


def remove_stack(site: Site, stack: str, data: bool) -> dict[str, t.Any]:
    """Remove a stack; nothing of it being there is fine.

    Raises:
        ReleaseError: something could not be removed (`removal_failed`), or the engine does not answer.
    """
    try:
        found = _belongings(site.docker, stack, data)
    except DockerMissing:
        found = Belongings()
    files = data and has_data(site.places)
    changed = bool(found) or files or _says_otherwise(site)
    if changed and not site.check_mode:
        _carry_out(site, stack, data, found)
    if data and not site.check_mode:
        remove_data(site.places)  # at the very least the lock that this run made
    before: dict[str, t.Any] = {name: list(items) for name, items in dataclasses.asdict(found).items()}
    after: dict[str, t.Any] = {name: [] for name in before}
    if data:
        before["data"], after["data"] = files, False
    return {"changed": changed, "release": None, "services": [], "diff": {"before": before, "after": after}}


def _says_otherwise(site: Site) -> bool:
    """Whether the journal still holds a release, or something under way, that the host is no longer to have."""
    if not os.path.lexists(site.places.journal):
        return False
    journal = load_journal(site.places, site.warn)
    return journal.committed is not None or journal.phase != "idle"


def _carry_out(site: Site, stack: str, data: bool, found: Belongings) -> None:
    if os.path.lexists(site.places.journal):
        # From here on nothing is committed: a run that is killed now must not find a release to go back to.
        journal = load_journal(site.places, site.warn).removed()
        save_journal(site.places, dataclasses.replace(journal, phase="removing"))
    if found:
        clear(site.docker, all_projects(stack))
        if data:
            _remove_volumes(site.docker, stack)
    for reference in found.images:
        must(site.docker.ask(["docker", "image", "rm", "--", reference]), f"docker image rm {reference}")
    if not data and os.path.lexists(site.places.journal):
        save_journal(site.places, load_journal(site.places, site.warn).settled())


def _remove_volumes(docker: Docker, stack: str) -> None:
    for name in _listed(docker, "volume", stack):
        answer = docker.ask(["docker", "volume", "rm", "--", name])
        if answer.code != 0:
            raise ReleaseError(
                f"docker volume rm {name} failed: {printable(answer.stderr)}. Remove what uses it, then run the same "
                "command again",
                reason="removal_failed",
            )


def _belongings(docker: Docker, stack: str, data: bool) -> Belongings:
    containers = look(docker, *all_projects(stack))
    names = tuple(sorted(container.name for container in containers))
    images = _images(docker, stack, {container.id for container in containers})
    volumes = _listed(docker, "volume", stack) if data else ()
    return Belongings(names, _listed(docker, "network", stack), volumes, images)


def _listed(docker: Docker, kind: t.Literal["network", "volume"], stack: str) -> tuple[str, ...]:
    """Return the names of what the stack's projects have of a kind."""
    answers = ask_all(docker, [list_argv(kind, project) for project in all_projects(stack)])
    return tuple(name for answer in answers for name in must(answer, f"docker {kind} ls").split())


def _images(docker: Docker, stack: str, ours: set[str]) -> tuple[str, ...]:
    """Return the images that were built for the stack, but those that somebody else's container uses."""
    listing = ["docker", "image", "ls", "--no-trunc", "--format", "{{json .}}", "--filter"]
    lines = must(docker.ask([*listing, f"label={STACK_LABEL}={stack}"]), "docker image ls").splitlines()
    if not lines:
        return ()
    others = must(docker.ask(["docker", "container", "ls", "--all", "--quiet", "--no-trunc"]), "docker container ls")
    used = {container.image for container in inspect(docker, sorted(set(others.split()) - ours))}
    images = [json.loads(line) for line in lines]
    return tuple(
        image["ID"] if _UNTAGGED in (image["Repository"], image["Tag"]) else f"{image['Repository']}:{image['Tag']}"
        for image in images
        if image["ID"] not in used
    )
