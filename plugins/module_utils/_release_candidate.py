# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A release with the settings of this host and the stage that it runs on, or is to run on."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Compose
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import (
    DOCUMENT,
    Release,
    parse_document,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import resolved
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, read_file
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import Colour, colour_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site, held_secrets
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_room import read_meminfo, refuse_memory
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_settings import read_env
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import (
    Stage,
    make_stage,
    skip_jobs,
)


@dataclass(frozen=True)
class Candidate:
    """A release that can be activated: everything that it needs is on the host.

    `compose` are the release's own files with the host's, `config` what Compose makes of them. `hashes`: what Compose
    predicts for each service that is to run. `stale`: services to recreate although Compose sees no difference.
    `parameters` are the host's values, `secrets` those of its secrets that are known.
    """

    identity: Identity
    release: Release
    compose: Compose
    config: t.Mapping[str, t.Any]
    stage: Stage
    hashes: t.Mapping[str, str]
    stale: frozenset[str] = frozenset()
    parameters: t.Mapping[str, str] = field(default_factory=dict)
    secrets: t.Mapping[str, bytes] = field(default_factory=dict)

    @property
    def gate(self) -> Gate:
        return self.release.gate_of(self.hashes)

    @property
    def stateful(self) -> frozenset[str]:
        """The services that the stage's data project runs; none where it is one project."""
        if self.stage.colour is None:
            return frozenset()
        lifecycles = self.release.lifecycles
        return frozenset(name for name in self.hashes if lifecycles.get(name) == "stateful")

    def on(self, colour: Colour | None, path_of: t.Callable[[str], str]) -> Candidate:
        """Return the candidate on a side, whose Compose files are written for it, or on none.

        Args:
            path_of: where the file of a part goes.

        Raises:
            ReleaseError: something cannot be there on two sides (`release_invalid`).
        """
        release = self.release
        stage = make_stage(release.stack, colour, self.compose, self.config, release.lifecycles, path_of)
        return dataclasses.replace(self, stage=stage)

    def without(self, jobs: t.Collection[str]) -> Candidate:
        """Return the candidate without some of its jobs: those that ran for it once and cannot be undone.

        They need not be among its hashes: a commit that was gone back to lacks them, and its Compose files have them.
        """
        if not jobs:
            return self
        hashes = {name: one for name, one in self.hashes.items() if name not in jobs}
        return dataclasses.replace(self, stage=skip_jobs(self.stage, self.config, jobs), hashes=hashes)


def recall(site: Site, commit: Commit) -> Candidate:
    """Return a release that was committed on this host, from what the host kept of it.

    Raises:
        ReleaseError: something of it is gone (`release_gone`).
    """
    places = site.places
    folder = places.release(commit.identity.release)
    document, env, override = _kept_files(places, commit.identity)
    gone = gone_files(places, commit.identity)
    if gone:
        raise ReleaseError(
            f"{gone[0]} of release {commit.identity.release[:12]} is gone; deploy a release from the controller",
            reason="release_gone",
        )
    release = parse_document(json.loads(read_file(document) or b"{}"), commit.identity.release)
    files = tuple(os.path.join(folder, name) for name in release.compose)
    compose = Compose(release.stack, folder, env, (*files, override))
    config = resolved(site.docker, compose)[0]
    path_of = functools.partial(places.part, commit.identity)
    return Candidate(
        identity=commit.identity,
        release=release,
        compose=compose,
        config=config,
        stage=make_stage(release.stack, colour_of(commit.colour), compose, config, release.lifecycles, path_of),
        hashes={name: hashes.predicted for name, hashes in commit.hashes.items()},
        parameters=read_env((read_file(env) or b"").decode()),
        secrets=held_secrets(places),
    )


def gone_files(places: Places, identity: Identity) -> list[str]:
    """Return what the host should have kept of a release with its settings, and has not."""
    return [path for path in _kept_files(places, identity) if read_file(path) is None]


def _kept_files(places: Places, identity: Identity) -> tuple[str, str, str]:
    document = os.path.join(places.release(identity.release), DOCUMENT)
    return document, places.env_file(identity), places.override(identity)


def refuse_no_room_beside(candidate: Candidate, overrides: t.Collection[str]) -> tuple[str, ...]:
    """Refuse a side that does not fit into memory beside the one that serves; return the refusals not made.

    Raises:
        ReleaseError: with the figures (`no_memory`).
    """
    try:
        refuse_memory(candidate.stage.parts.side["services"] if candidate.stage.parts else {}, read_meminfo())
    except ReleaseError:
        if "memory" not in overrides:
            raise
        return ("memory",)
    return ()
