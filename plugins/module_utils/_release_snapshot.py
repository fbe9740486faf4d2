# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Let stateful services save what they hold before they, or what they hold, are changed."""

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker, exec_argv
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollout import Rollout
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker, last_lines

_LIMIT = 3600.0  # seconds


def take_snapshots(
    docker: Docker, containers: t.Iterable[Container], rollout: Rollout, services: t.Collection[str], mask: Masker
) -> tuple[str, ...]:
    """Run the snapshot program of each of these services in its container; return those that saved something.

    One that does not run has nothing to save.

    Raises:
        ReleaseError: a program failed (`snapshot_failed`).
    """
    taken: dict[str, None] = {}
    for container in containers:
        command = rollout.snapshots.get(container.service, ())
        if container.service not in services or not command or not container.running:
            continue
        answer = docker.ask(exec_argv(container.id, command, ()), timeout=_LIMIT)
        if answer.code != 0:
            said = "; ".join(last_lines(mask(f"{answer.stdout}\n{answer.stderr}"), 5)) or "nothing"
            raise ReleaseError(
                f"the snapshot of service {container.service} failed with exit code {answer.code} and said: {said}. "
                "Mend what it complains about, or correct snapshot in stack.yml; then run the same command again",
                reason="snapshot_failed",
                service=container.service,
            )
        taken[container.service] = None
    return tuple(taken)
