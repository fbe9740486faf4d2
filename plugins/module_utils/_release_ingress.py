# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The ingress of a stack on this host: one container that stays, in front of the sides of its releases."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._authority import ensure_certificate
from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Compose, must
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_compose import SERVICE, ingress_compose
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import Ingress, Side, render
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_document import parse_ingress, published
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_files import (
    IngressPlaces,
    install,
    make_folders,
    write_certificate,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_runtime import IngressRuntime
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_candidate import Candidate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import Port, encode
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import predicted_hashes
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import write_file, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import INGRESS, Colour, project_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Step
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import connect

_START_LIMIT = 30.0  # seconds from the container's start to HAProxy's first answer
_UP_LIMIT = 120.0  # seconds for Compose to make the container


def ingress_of(candidate: Candidate) -> Ingress:
    """Return what a release with sides wants of its ingress.

    Raises:
        ReleaseError: it names none, or one that this host's parameters make impossible.
    """
    if not candidate.release.ingress:
        raise ReleaseError(
            "rollout.strategy is blue_green and the release has no ingress; add ingress to stack.yml, or use the "
            "strategy recreate",
            reason="release_invalid",
        )
    return parse_ingress(candidate.release.ingress, candidate.parameters)


def refuse_missing_certificate(ingress: Ingress, candidate: Candidate) -> None:
    """Refuse when the ingress is to show a certificate that the host has not.

    Raises:
        ReleaseError: with reason `secret_missing`.
    """
    name = ingress.tls.certificate if ingress.tls else None
    if name and not candidate.secrets.get(name):
        raise ReleaseError(
            f"the ingress' certificate is the secret {name!r}, and this host has none. Set it in fleet_secrets (or "
            "compose_deploy_secrets); then run the same command again. Nothing was touched",
            reason="secret_missing",
        )


def refuse_bad_routes(ingress: Ingress, candidate: Candidate) -> None:
    """Refuse routes that HAProxy could not be told of.

    Raises:
        ReleaseError: with reason `ingress_invalid`.
    """
    render(ingress, [_side(candidate)], "certificate.pem")


def ingress_ports(ingress: Ingress) -> list[Port]:
    """Return the ports of the host that the ingress wants."""
    return [Port(SERVICE, publish.address, publish.port, "tcp") for _where, publish in published(ingress)]


class Door:
    """The ingress of a stack: brought up, put before sides, turned to one of them."""

    def __init__(self, site: Site, stack: str) -> None:
        self._site, self._stack = site, stack
        self._places = IngressPlaces(site.places.ingress)
        self._project = project_of(stack, INGRESS)

    def step(self, ingress: Ingress, folder: str) -> Step:
        """Return what has to happen to its container.

        Args:
            folder: where its Compose file may be written to be looked at.
        """
        wanted = predicted_hashes(self._site.docker, self._compose(ingress, folder))[SERVICE]
        container = self._container()
        if container is None:
            return Step(SERVICE, "create", "it has no container")
        if container.config_hash != wanted:
            return Step(SERVICE, "recreate", "its image or its published ports changed")
        if not container.running:
            return Step(SERVICE, "start", f"it is {container.status}")
        return Step(SERVICE, "none")

    def stand_before(self, sides: t.Sequence[Candidate], live: Colour | None) -> None:
        """Have it up in front of these sides, the newest last, serving one of them, or none yet.

        Where it is up as it should be, nothing is interrupted.

        Raises:
            ReleaseError: it did not come up or refuses its configuration; what served serves on.
        """
        newest = sides[-1]
        ingress = ingress_of(newest)
        with writing("the ingress' files"):
            make_folders(self._places)
        config = render(ingress, [_side(one) for one in sides], self._certificate(newest, ingress))
        container = self._container()
        if container is None:
            install(self._places, config, live)
        compose = self._compose(ingress, self._places.folder)
        answer = self._site.docker.ask(compose.argv("up", "--detach", "--no-build"), timeout=_UP_LIMIT)
        must(answer, "docker compose up of the ingress")
        runtime = self._runtime()
        runtime.wait_until_answers(time.monotonic() + _START_LIMIT)
        self._attach(sides)
        runtime.switch(live)
        runtime.reload(config)

    def turn(self, colour: Colour, timeout: float) -> None:
        """Serve a side as soon as the ingress sees that it is well; `timeout` in seconds.

        Raises:
            ReleaseError: it is not in time, or the ingress does not answer; what served serves on.
        """
        runtime = self._runtime()
        runtime.wait_until_up(colour, time.monotonic() + timeout)
        runtime.switch(colour)

    def turn_if_there(self, colour: Colour) -> bool:
        """Serve a side, if the ingress is up at all; return whether another one was served.

        After a power cut its container may run already, and HAProxy in it not answer yet.
        """
        container = self._container()
        if container is None or not container.running:
            return False
        runtime = self._runtime()
        runtime.wait_until_answers(time.monotonic() + _START_LIMIT)
        return runtime.switch(colour)

    def drain(self, colour: Colour, limit: float) -> None:
        """Wait until nothing that a side began is open any more; cut what is left after `limit` seconds."""
        cut = self._runtime().drain(colour, limit)
        if cut:
            self._site.warn(f"{cut} connections to the {colour} side were open after {limit:g} s and were cut")

    def _compose(self, ingress: Ingress, folder: str) -> Compose:
        path = os.path.join(folder, "ingress.json")
        with writing("the ingress' files"):
            write_file(
                path, encode(ingress_compose(self._stack, ingress, self._places.config, self._places.run)), 0o600
            )
        return Compose(self._project, folder, os.devnull, (path,))

    def _container(self) -> Container | None:
        return next(iter(look(self._site.docker, self._project)), None)

    def _runtime(self) -> IngressRuntime:
        container = self._container()
        if container is None:
            raise ReleaseError("the ingress has no container; run the same command again", reason="ingress_failed")
        return IngressRuntime(self._places, container.id, self._site.docker)

    def _attach(self, sides: t.Iterable[Candidate]) -> None:
        container = self._container()
        for network in sorted({name for one in sides for name in _side(one).networks.values()}):
            if container is not None and network not in container.networks:
                connect(self._site.docker, network, container.id)

    def _certificate(self, candidate: Candidate, ingress: Ingress) -> str | None:
        """Write the certificate that the ingress is to show; return the name of its file."""
        if ingress.https is None or ingress.tls is None:
            return None
        if ingress.tls.certificate:
            refuse_missing_certificate(ingress, candidate)
            pem = candidate.secrets[ingress.tls.certificate]
        else:
            authority = os.path.join(self._site.places.root, "authority")
            pem = ensure_certificate(authority, self._stack, ingress.hosts or (os.uname().nodename,)).pem
        return write_certificate(self._places, pem)


def _side(candidate: Candidate) -> Side:
    parts, colour = candidate.stage.parts, candidate.stage.colour
    if parts is None or colour is None:
        raise ReleaseError("a release without sides has no ingress", reason="release_invalid")
    routes = ingress_of(candidate).routes
    replicas = {name: _replicas(service) for name, service in parts.side["services"].items()}
    networks = {
        route.service: parts.networks[route.service][0] for route in routes if parts.networks.get(route.service)
    }
    return Side(colour, routes, networks, replicas)


def _replicas(service: t.Mapping[str, t.Any]) -> int:
    replicas = (service.get("deploy") or {}).get("replicas")
    return int(service.get("scale", 1) if replicas is None else replicas)
