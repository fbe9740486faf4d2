# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import Found, StoredImage
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_swarm import (
    SWARM_CONTROLS,
    authority_made,
    look_at_swarm,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins._found import (
    INFO,
    ROOT,
    SWARM,
    good,
    with_engine,
    with_info,
    with_swarm,
)

OF_SWARM = [control.slug for control in SWARM_CONTROLS if control.section == 7]
UNKNOWABLE = "swarm-autolock-rotation"


@pytest.mark.parametrize("control", SWARM_CONTROLS, ids=lambda control: control.slug)
def test_in_a_good_swarm_every_rule_passes_and_says_what_it_saw(control: Control) -> None:
    looked = look_at_swarm(with_swarm())[control.slug]
    if control.slug == UNKNOWABLE:
        assert looked == Looked(unknown="the engine does not tell when the key of autolock was last changed")
    else:
        assert looked.seen
        assert looked == Looked(seen=looked.seen)


def spec(**changed: object) -> dict[str, object]:
    return {**SWARM["Cluster"], "Spec": {**SWARM["Cluster"]["Spec"], **changed}}


@pytest.mark.parametrize(
    ("slug", "found", "evidence"),
    [
        (
            "image-sprawl",
            with_engine(images=(StoredImage("sha256:ff"),)),
            "sha256:ff: no name, and no container uses it",
        ),
        (
            "container-sprawl",
            with_engine(containers=({"Name": "/lost", "State": {"Status": "created"}, "Config": {"Labels": None}},)),
            "lost: created, and of no Compose project",
        ),
        ("swarm-managers", with_swarm(Managers=4), "4 managers survive the loss of no more"),
        ("swarm-managers", with_swarm(Managers=9), "9 managers; more than 7"),
        (
            "swarm-interface",
            with_swarm({"state": {"ListenAddr": "0.0.0.0:2377"}}),
            "the Swarm listens on every address",
        ),
        ("swarm-interface", with_swarm({"state": {"ListenAddr": "[::]:2377"}}), "the Swarm listens on every address"),
        ("swarm-networks", with_swarm({"networks": {"ingress": {}}}), "ingress is not encrypted"),
        (
            "swarm-secrets",
            with_swarm({"environments": {"api": ("DB_PASSWORD=Xu7ePh4uWo",)}}),
            "service api: environment DB_PASSWORD",
        ),
        ("swarm-autolock", with_swarm(Cluster=spec(EncryptionConfig={})), "who has a manager's disk has its keys"),
        (
            "swarm-node-certificates",
            with_swarm(Cluster=spec(CAConfig={"NodeCertExpiry": 91 * 24 * 3600 * 10**9})),
            "nodes' certificates are valid for 91 days, at most 90",
        ),
        ("swarm-data-plane", with_swarm({"state": {"DataPathAddr": ""}}), "services' traffic goes over the addresses"),
        (
            "swarm-data-plane",
            with_swarm({"state": {"DataPathAddr": "10.0.0.2", "AdvertiseAddr": "10.0.0.2:2377"}}),
            "services' traffic goes over the addresses",
        ),
    ],
)
def test_a_violation_is_told_with_what_shows_it(slug: str, found: Found, evidence: str) -> None:
    looked = look_at_swarm(found)
    assert looked[slug].evidence[0].startswith(evidence)


def test_a_secret_is_never_shown() -> None:
    looked = look_at_swarm(with_swarm({"environments": {"api": ("DB_PASSWORD=Xu7ePh4uWo",)}}))
    assert "Xu7ePh4uWo" not in str(looked)


@pytest.mark.parametrize(("day", "old"), [("2027-11-26", False), ("2027-11-27", True)])
def test_the_root_of_a_swarm_is_old_after_a_year(day: str, old: bool) -> None:
    engine = with_swarm().engine
    found = with_info(Swarm=engine.info["Swarm"], SystemTime=f"{day}T10:00:00Z")
    assert bool(look_at_swarm(found)["swarm-authority"].evidence) is old


@pytest.mark.parametrize(
    ("pem", "day"),
    [
        (ROOT, datetime.date(2026, 11, 26)),
        ("", None),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", None),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----", None),
    ],
)
def test_the_day_of_a_root_is_read_or_not_known(pem: str, day: datetime.date | None) -> None:
    assert authority_made(pem) == day


def test_a_host_in_no_swarm_needs_none_of_it() -> None:
    looked = look_at_swarm(good())
    assert {looked[slug].not_applicable for slug in OF_SWARM} == {"the host is in no Swarm"}


def test_a_worker_knows_only_of_itself() -> None:
    looked = look_at_swarm(with_swarm(ControlAvailable=False, Cluster=None))
    assert looked["swarm-networks"].not_applicable == "the host is no manager of its Swarm; ask one"
    assert looked["swarm-interface"].seen


def test_a_swarm_of_one_node_and_without_autolock_has_less_to_keep() -> None:
    looked = look_at_swarm(with_swarm(Nodes=1, Cluster=spec(EncryptionConfig={"AutoLockManagers": False})))
    assert looked["swarm-data-plane"].not_applicable == "a Swarm of one node sends nothing to others"
    assert looked[UNKNOWABLE].not_applicable == "autolock is off, so there is no key"


@pytest.mark.parametrize(
    ("slug", "found", "why"),
    [
        ("image-sprawl", with_engine(images_problem="no list"), "no list"),
        ("image-sprawl", with_engine(containers_problem="no list"), "no list"),
        ("container-sprawl", with_engine(containers_problem="no list"), "no list"),
        ("swarm-interface", with_swarm({"state_problem": "no right"}), "no right"),
        ("swarm-interface", with_swarm({"state": {}}), "the engine has not written down where its Swarm listens"),
        ("swarm-networks", with_swarm({"networks_problem": "no list"}), "no list"),
        ("swarm-secrets", with_swarm({"services_problem": "no list"}), "no list"),
        ("swarm-data-plane", with_swarm({"state_problem": "no right"}), "no right"),
        ("swarm-node-certificates", with_swarm(Cluster=spec(CAConfig={})), "the engine does not tell how long"),
        ("swarm-authority", with_swarm(Cluster={}), "the engine does not tell when the root of its Swarm was made"),
        *(
            (control.slug, with_engine(problem="the engine hangs", info=INFO), "the engine hangs")
            for control in SWARM_CONTROLS
        ),
    ],
)
def test_what_could_not_be_looked_at_is_not_known(slug: str, found: Found, why: str) -> None:
    looked = look_at_swarm(found)[slug]
    assert looked.unknown.startswith(why)
    assert not looked.evidence
