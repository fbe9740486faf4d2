# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Ask whether the host may be disturbed: a robot that talks to somebody is not updated in mid-sentence."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, with_shared_addresses
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import Question, judge_reply
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import EngineProbes
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollout import Busy
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

_POLL = 1.0  # seconds between two questions
_PATIENCE = 5.0  # seconds for an answer


def wait_until_free(
    docker: Docker, busy: Busy, see: t.Callable[[], t.Sequence[Container]], timeout: float, mask: Masker
) -> None:
    """Ask until the host says that it is free; no answer counts as busy.

    Args:
        see: looks at the containers that serve. Without any there is nobody to disturb.
        timeout: in seconds; 0 asks once.

    Raises:
        ReleaseError: it is busy all that time (`busy`).
    """
    deadline = time.monotonic() + timeout
    while True:
        containers = see()
        if not containers:
            return
        free, answer = _ask(docker, busy, containers, mask)
        if free:
            return
        if time.monotonic() >= deadline:
            raise ReleaseError(
                f"this host is busy: service {busy.service} said for {timeout:g} s: {answer}. Run the same command "
                "again when it is free, or disturb it with override=busy. Nothing was touched",
                reason="busy",
                service=busy.service,
                answer=answer,
            )
        time.sleep(min(_POLL, max(deadline - time.monotonic(), 0.0)))


def _ask(docker: Docker, busy: Busy, containers: t.Sequence[Container], mask: Masker) -> tuple[bool, str]:
    """Return whether every container of the service says that it is free, and the answer of the first that does not."""
    own = [one for one in containers if one.service == busy.service]
    if not own:
        return False, "no answer: it has no container"
    addresses = with_shared_addresses(containers)
    for one in own:
        free, answer = _ask_one(docker, busy, one, addresses[one.id], mask)
        if not free:
            return False, answer
    return True, "free"


def _ask_one(
    docker: Docker, busy: Busy, container: Container, addresses: t.Sequence[str], mask: Masker
) -> tuple[bool, str]:
    if not container.running:
        return False, f"no answer: its container is {container.status}"
    question = Question(busy.service, busy.check.label, busy.check, container)
    seen = judge_reply(question, EngineProbes(docker, {}).ask(question, addresses, _PATIENCE), mask)
    return seen.ok, seen.answer
