# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_images import (
    IMAGE_CONTROLS,
    ImageFacts,
    facts_of_image,
    look_at_image,
)

INSPECTED = {
    "Id": "sha256:0fc5d00bb9ee210b718bf06b9c2ef25e",
    "RepoTags": ["shop/web:7"],
    "RepoDigests": [],
    "Config": {
        "User": "10001:10001",
        "Env": ["PATH=/bin"],
        "Healthcheck": {"Test": ["CMD", "true"]},
        "Labels": {"org.emorobcare.fleet.input": "7f"},
    },
}
HISTORY = ["USER 10001:10001", "", "COPY site /srv/site # buildkit", "/bin/sh -c #(nop) ADD file:1f in / "]

# The oldest steps of every image that Ubuntu publishes.
UBUNTU = (
    "/bin/sh -c #(nop)  ARG RELEASE",
    "/bin/sh -c #(nop)  ARG LAUNCHPAD_BUILD_ARCH",
    "/bin/sh -c #(nop)  LABEL org.opencontainers.image.ref.name=ubuntu",
    "/bin/sh -c #(nop)  LABEL org.opencontainers.image.version=24.04",
    "/bin/sh -c #(nop) ADD file:6df775300d76441aa33f31b22c1afce8dfe35c8ffbc14ef27c27009235b12a95 in / ",
    '/bin/sh -c #(nop)  CMD ["/bin/bash"]',
)


def state(facts: ImageFacts, slug: str) -> str:
    looked = look_at_image(facts)[slug]
    states = {"fail": looked.evidence, "not applicable": looked.not_applicable, "unseen": looked.unseen}
    return next((name for name, told in states.items() if told), "pass")


def test_an_image_is_read_from_what_the_engine_says_of_it() -> None:
    facts = facts_of_image(INSPECTED, HISTORY)
    assert (facts.name, facts.user, facts.health) == ("shop/web:7", "10001:10001", ("CMD", "true"))
    assert facts.history == (HISTORY[3], HISTORY[2], HISTORY[0])
    assert facts_of_image({"Id": "sha256:0fc5d00bb9ee210b71"}).name == "0fc5d00bb9ee"


def test_a_good_image_passes_all_that_can_be_told_from_outside() -> None:
    facts = facts_of_image(INSPECTED, HISTORY)
    told = {slug: state(facts, slug) for slug in look_at_image(facts)}
    assert set(told.values()) == {"pass", "unseen"}
    assert [slug for slug, one in told.items() if one == "unseen"] == [
        "image-packages",
        "image-vulnerabilities",
        "content-trust",
        "image-setuid",
        "image-signatures",
    ]


@pytest.mark.parametrize(
    ("slug", "facts"),
    [
        ("image-user", {"user": ""}),
        ("image-user", {"user": "root:root"}),
        ("image-user", {"user": "0"}),
        ("image-health-check", {}),
        ("image-health-check", {"health": ("NONE",)}),
        ("image-update-alone", {"history": ("RUN apt-get update # buildkit",)}),
        ("image-update-alone", {"history": ("/bin/sh -c apk -U update",)}),
        ("image-add", {"history": ("RUN x", "ADD https://example.org/x /x # buildkit")}),
        ("image-add", {"history": ("/bin/sh -c #(nop) ADD file:1f in /srv",)}),
        ("image-add", {"history": ("# debian.sh --arch 'amd64' out/ 'trixie'", "ADD x.tar / # buildkit")}),
        ("image-add", {"history": (*UBUNTU, "ADD x.tar / # buildkit")}),
        ("image-secrets", {"env": ("API_TOKEN=8a7df8s7df",)}),
        ("image-secrets", {"history": ("RUN |1 PASSWORD=hunter2hunter2 /bin/sh -c x",)}),
        ("image-verified-packages", {"history": ("RUN apt-get install -y --allow-unauthenticated x",)}),
        ("image-verified-packages", {"history": ("/bin/sh -c curl -fsSLk https://example.org/x",)}),
        ("image-verified-packages", {"history": ("RUN pip install --trusted-host mirror x",)}),
    ],
)
def test_a_violation_is_found(slug: str, facts: dict[str, t.Any]) -> None:
    assert state(ImageFacts("x", **facts), slug) == "fail"


@pytest.mark.parametrize(
    ("slug", "history"),
    [
        ("image-update-alone", ("RUN apt-get update && apt-get install -y x",)),
        ("image-update-alone", ("LABEL x=apt-get update",)),
        ("image-add", ("ADD rootfs.tar / # buildkit", "COPY x /x")),
        ("image-add", UBUNTU),
        ("image-verified-packages", ("RUN curl -fsSL https://example.org/k",)),
        ("image-verified-packages", ("LABEL x=--allow-untrusted",)),
    ],
)
def test_what_only_looks_like_a_violation_is_none(slug: str, history: tuple[str, ...]) -> None:
    assert state(ImageFacts("x", history=history), slug) == "pass"


@pytest.mark.parametrize("slug", ["image-update-alone", "image-add", "image-secrets", "image-verified-packages"])
def test_without_a_history_nothing_passes_that_only_it_can_tell(slug: str) -> None:
    assert state(ImageFacts("x"), slug) == "not applicable"


def test_no_secret_is_shown() -> None:
    facts = ImageFacts(
        "x",
        env=("API_TOKEN=8a7df8s7dfhunter2",),
        history=("RUN apt-get update PASSWORD=hunter2hunter2", "ADD http://u:hunter2hunter2@example.org/x /x"),
    )
    assert "hunter2" not in str(look_at_image(facts))


def test_an_image_of_somebody_else_is_not_said_to_have_a_trusted_base() -> None:
    assert state(ImageFacts("x"), "image-base") == "not applicable"


def test_each_control_of_the_section_is_there_once_and_in_its_order() -> None:
    assert [control.number for control in IMAGE_CONTROLS] == [f"4.{number}" for number in range(1, 13)]
    assert list(look_at_image(ImageFacts("x"))) == [control.slug for control in IMAGE_CONTROLS]


@pytest.mark.parametrize("control", IMAGE_CONTROLS, ids=lambda control: control.number)
def test_a_control_that_is_not_enforced_says_why(control: t.Any) -> None:
    assert bool(control.why) == (control.kind != "enforced")
    assert not control.way_out.endswith(".")
