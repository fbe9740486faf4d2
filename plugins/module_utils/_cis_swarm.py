# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Sections 6 and 7 of the benchmark: operations and Swarm. Facts in, evidence out; pure."""

from __future__ import annotations

import base64
import datetime
import functools
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import Config
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_secrets import secrets_in_config
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked, Rule
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import EngineFacts, Found
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import PROJECT_LABEL

MOST_MANAGERS = 7
LONGEST_NODE_CERTIFICATE = 90
"""Days; Swarm's own default."""

OLDEST_AUTHORITY = 365
"""Days since the root of a Swarm was made."""

_DAY = 24 * 3600 * 10**9  # nanoseconds
# An X.509 time (RFC 5280, 4.1.2.5): tag, length, digits, Z. The first one of a certificate is when it begins.
_TIME = re.compile(rb"\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z")
_ENDED = ("created", "exited", "dead")

Look = t.Callable[[EngineFacts], Looked]


def _image_sprawl(engine: EngineFacts) -> Looked:
    problem = engine.silent or engine.images_problem or engine.containers_problem
    if problem:
        return Looked(unknown=problem)
    used = {str(container.get("Image")) for container in engine.containers}
    lost = [image.id[:19] for image in engine.images if not image.name and not image.digest and image.id not in used]
    evidence = tuple(f"{image}: no name, and no container uses it" for image in lost)
    return Looked(evidence, seen=f"{len(engine.images)} images, each with a name, a digest or a container")


def _container_sprawl(engine: EngineFacts) -> Looked:
    problem = engine.silent or engine.containers_problem
    if problem:
        return Looked(unknown=problem)
    evidence = []
    for container in engine.containers:
        state = str((container.get("State") or {}).get("Status") or "")
        labels = (container.get("Config") or {}).get("Labels") or {}
        if state in _ENDED and PROJECT_LABEL not in labels:
            evidence.append(f"{str(container.get('Name')).lstrip('/')}: {state}, and of no Compose project")
    return Looked(tuple(evidence), seen=f"{len(engine.containers)} containers, each running or of a Compose project")


def _in_swarm(manager: bool = False) -> t.Callable[[Look], Look]:
    """Return a wrapper for rules that count for members of a Swarm, or for its managers alone."""

    def wrap(look: Look) -> Look:
        @functools.wraps(look)
        def wrapped(engine: EngineFacts) -> Looked:
            if engine.silent:
                return Looked(unknown=engine.silent)
            if not engine.in_swarm:
                return Looked(not_applicable="the host is in no Swarm")
            if manager and not _swarm(engine).get("ControlAvailable"):
                return Looked(not_applicable="the host is no manager of its Swarm; ask one")
            return look(engine)

        return wrapped

    return wrap


def _swarm(engine: EngineFacts) -> t.Mapping[str, t.Any]:
    return engine.info.get("Swarm") or {}


def _spec(engine: EngineFacts) -> t.Mapping[str, t.Any]:
    return (_swarm(engine).get("Cluster") or {}).get("Spec") or {}


@_in_swarm(manager=True)
def _managers(engine: EngineFacts) -> Looked:
    managers = int(_swarm(engine).get("Managers") or 0)
    evidence = []
    if managers > MOST_MANAGERS:
        evidence.append(f"{managers} managers; more than {MOST_MANAGERS} slow every change down")
    if managers % 2 == 0:
        evidence.append(f"{managers} managers survive the loss of no more of them than one less would")
    return Looked(tuple(evidence), seen=f"{managers} managers")


@_in_swarm()
def _swarm_interface(engine: EngineFacts) -> Looked:
    if engine.swarm.state_problem:
        return Looked(unknown=engine.swarm.state_problem)
    listens = str(engine.swarm.state.get("ListenAddr") or "")
    if not listens:
        return Looked(unknown="the engine has not written down where its Swarm listens")
    address = listens.rpartition(":")[0].strip("[]")
    if address in ("", "0.0.0.0", "::"):
        return Looked((f"the Swarm listens on every address ({listens})",))
    return Looked(seen=f"the Swarm listens on {listens}")


@_in_swarm(manager=True)
def _encrypted_networks(engine: EngineFacts) -> Looked:
    if engine.swarm.networks_problem:
        return Looked(unknown=engine.swarm.networks_problem)
    networks = engine.swarm.networks
    evidence = tuple(f"{name} is not encrypted" for name, options in networks.items() if "encrypted" not in options)
    return Looked(evidence, seen=f"encrypted: {', '.join(networks) or 'there is no overlay network'}")


@_in_swarm(manager=True)
def _swarm_secrets(engine: EngineFacts) -> Looked:
    if engine.swarm.services_problem:
        return Looked(unknown=engine.swarm.services_problem)
    evidence = []
    for name, environment in engine.swarm.environments.items():
        evidence += [f"service {name}: {secret}" for secret in secrets_in_config(Config(env=environment))]
    return Looked(
        tuple(evidence), seen=f"{len(engine.swarm.environments)} services with no secret in their environment"
    )


@_in_swarm(manager=True)
def _autolock(engine: EngineFacts) -> Looked:
    if (_spec(engine).get("EncryptionConfig") or {}).get("AutoLockManagers") is True:
        return Looked(seen="autolock is on")
    return Looked(("who has a manager's disk has its keys: autolock is off",))


@_in_swarm(manager=True)
def _autolock_rotation(engine: EngineFacts) -> Looked:
    if _autolock(engine).evidence:
        return Looked(not_applicable="autolock is off, so there is no key")
    return Looked(unknown="the engine does not tell when the key of autolock was last changed")


@_in_swarm(manager=True)
def _node_certificates(engine: EngineFacts) -> Looked:
    expiry = int((_spec(engine).get("CAConfig") or {}).get("NodeCertExpiry") or 0)
    days = expiry / _DAY
    if not expiry:
        return Looked(unknown="the engine does not tell how long its nodes' certificates are valid")
    if days > LONGEST_NODE_CERTIFICATE:
        return Looked((f"nodes' certificates are valid for {days:g} days, at most {LONGEST_NODE_CERTIFICATE}",))
    return Looked(seen=f"nodes' certificates are valid for {days:g} days")


@_in_swarm(manager=True)
def _authority(engine: EngineFacts) -> Looked:
    made = authority_made(str(((_swarm(engine).get("Cluster") or {}).get("TLSInfo") or {}).get("TrustRoot") or ""))
    try:
        today = datetime.date.fromisoformat(str(engine.info.get("SystemTime"))[:10])
    except ValueError:
        return Looked(unknown="the engine does not tell the time")
    if made is None:
        return Looked(unknown="the engine does not tell when the root of its Swarm was made")
    if (today - made).days > OLDEST_AUTHORITY:
        return Looked((f"the root of the Swarm was made on {made}, more than {OLDEST_AUTHORITY} days ago",))
    return Looked(seen=f"the root of the Swarm was made on {made}")


def authority_made(pem: str) -> datetime.date | None:
    """Return the day from which a certificate is valid; None where it cannot be read."""
    body = re.search(r"-----BEGIN CERTIFICATE-----(.+?)-----END", pem, re.DOTALL)
    try:
        times = _TIME.search(base64.b64decode(body[1])) if body else None
        digits = (times[1] or times[2]).decode() if times else ""
        return datetime.datetime.strptime(digits[:-6], "%y%m%d" if len(digits) == 12 else "%Y%m%d").date()
    except ValueError:
        return None


@_in_swarm()
def _data_plane(engine: EngineFacts) -> Looked:
    if int(_swarm(engine).get("Nodes") or 0) == 1:
        return Looked(not_applicable="a Swarm of one node sends nothing to others")
    state = engine.swarm.state
    if engine.swarm.state_problem:
        return Looked(unknown=engine.swarm.state_problem)
    data, management = str(state.get("DataPathAddr") or ""), str(state.get("AdvertiseAddr") or "")
    if not data or data == management.rpartition(":")[0]:
        return Looked(("services' traffic goes over the addresses that the Swarm is managed by",))
    return Looked(seen=f"services by {data}, management by {management}")


def _rule(control: Control, look: Look) -> Rule[Found]:
    return Rule(control, lambda found: look(found.engine))


_RULES: tuple[Rule[Found], ...] = (
    _rule(
        Control(
            "6.1",
            "image-sprawl",
            "No image is kept that nobody can ask for",
            "Run docker image prune",
            "enforced",
        ),
        _image_sprawl,
    ),
    _rule(
        Control(
            "6.2",
            "container-sprawl",
            "No container is kept that has ended and belongs to nothing",
            "Run docker container prune, once you have read their logs",
            "enforced",
        ),
        _container_sprawl,
    ),
    _rule(
        Control(
            "7.1",
            "swarm-managers",
            "A Swarm has as many managers as it needs: an odd number, and few",
            "Run docker node demote (or promote) until the number is odd and at most 7",
            "enforced",
        ),
        _managers,
    ),
    _rule(
        Control(
            "7.2",
            "swarm-interface",
            "A Swarm listens on one address",
            "Make the Swarm anew with --listen-addr <address>:2377; it cannot be changed later",
            "enforced",
        ),
        _swarm_interface,
    ),
    _rule(
        Control(
            "7.3",
            "swarm-networks",
            "Overlay networks are encrypted",
            "Make each network anew with --opt encrypted",
            "enforced",
        ),
        _encrypted_networks,
    ),
    _rule(
        Control(
            "7.4",
            "swarm-secrets",
            "Services of a Swarm get secrets as secrets",
            "Run docker secret create and docker service update --secret-add, take the setting out, change the secret",
            "enforced",
        ),
        _swarm_secrets,
    ),
    _rule(
        Control(
            "7.5",
            "swarm-autolock",
            "A manager's keys are locked while it is off",
            "Run docker swarm update --autolock, and keep the key apart from the host",
            "recorded",
            why="a locked manager waits for a person after each power cut, and a robot has none; encrypt its disk",
        ),
        _autolock,
    ),
    _rule(
        Control(
            "7.6",
            "swarm-autolock-rotation",
            "The key of autolock is changed now and then",
            "Run docker swarm unlock-key --rotate, and excuse this in rules until the day when it is due again",
            "recorded",
            why="no engine tells when it was changed; an excuse with a date is the reminder",
        ),
        _autolock_rotation,
    ),
    _rule(
        Control(
            "7.7",
            "swarm-node-certificates",
            "Certificates of nodes are renewed at least every 90 days",
            "Run docker swarm update --cert-expiry 2160h",
            "enforced",
        ),
        _node_certificates,
    ),
    _rule(
        Control(
            "7.8",
            "swarm-authority",
            "The root of a Swarm's certificates is changed every year",
            "Run docker swarm ca --rotate",
            "enforced",
        ),
        _authority,
    ),
    _rule(
        Control(
            "7.9",
            "swarm-data-plane",
            "Traffic of services and of the Swarm's own keep apart",
            "Make the Swarm anew with --advertise-addr and --data-path-addr on two interfaces",
            "recorded",
            why="robots and small sites have one network; what goes over it is encrypted instead (7.3)",
        ),
        _data_plane,
    ),
)

SWARM_CONTROLS = tuple(rule.control for rule in _RULES)


def look_at_swarm(found: Found) -> dict[str, Looked]:
    """Return what each rule of these sections found, by its slug."""
    return {rule.control.slug: rule.look(found) for rule in _RULES}
