# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import (
    Base,
    Entry,
    ImageFacts,
    LayerFacts,
    Outside,
    Probe,
    Secret,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_rules import RULES, look_at
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._audit import BASE, OWN, image

APP = "/opt/app"
CLAIM_ALL: dict[str, t.Any] = {"labels": {"org.emorobcare.fleet.paths": "/"}}
SECRET = LayerFacts("sha256:own", OWN.entries, (Secret("/opt/app/k", "private key", 3),))


def program(path: str, kind: str = "f", mode: int = 0o755) -> ImageFacts:
    return image([Entry(path, kind, mode)], CLAIM_ALL)


VIOLATIONS = [
    ("size", image(size=2_000_000, max_size=1_000_000), "2.0 MB; allowed: 1.0 MB"),
    ("root-user", image(config={"user": ""}), "no USER"),
    ("root-user", image(config={"user": "root:app"}), "USER root:app"),
    ("root-user", image(config={"user": "00"}), "USER 00"),
    ("health-check", image(config={"health": ()}), "no HEALTHCHECK"),
    ("health-check", image(config={"health": ("NONE",)}), "no HEALTHCHECK"),
    ("health-check", image(probe=Probe(False, "no curl")), "no curl"),
    ("setuid", image([Entry(f"{APP}/su", "f", 0o4755)]), f"{APP}/su (4755)"),
    ("setuid", image([Entry(f"{APP}/sg", "h", 0o2755)]), f"{APP}/sg (2755)"),
    ("world-writable", image([Entry(f"{APP}/x", "f", 0o666)]), f"{APP}/x (0666)"),
    ("world-writable", image([Entry(f"{APP}/d", "d", 0o777)]), f"{APP}/d (0777)"),
    ("package-manager", program("/usr/bin/dpkg"), "/usr/bin/dpkg"),
    ("package-manager", program("/sbin/apk"), "/sbin/apk"),
    ("package-manager", program("/opt/venv/bin/pip3.13"), "/opt/venv/bin/pip3.13"),
    ("package-manager", program("/usr/local/bin/npm", "l", 0o777), "/usr/local/bin/npm"),
    (
        "package-manager",
        program("/usr/lib/python3.13/ensurepip/__init__.py"),
        "/usr/lib/python3.13/ensurepip/__init__.py",
    ),
    ("package-manager", program("/x/node_modules/npm/package.json"), "/x/node_modules/npm/package.json"),
    ("compiler", program("/usr/bin/gcc-14"), "/usr/bin/gcc-14"),
    ("compiler", program("/usr/bin/x86_64-linux-gnu-ld.bfd"), "/usr/bin/x86_64-linux-gnu-ld.bfd"),
    ("compiler", program("/usr/local/go/bin/go"), "/usr/local/go/bin/go"),
    ("compiler", program("/usr/libexec/gcc/cc1"), "/usr/libexec/gcc/cc1"),
    ("secrets", image(layers=(BASE, SECRET)), "/opt/app/k:3: private key in layer 2"),
    ("unclaimed-files", image([Entry("/etc/extra")]), "/etc/extra"),
    ("unclaimed-files", image([Entry("/srv", "d")]), "/srv"),
    ("unclaimed-files", image(config={"labels": {}}), "no label org.emorobcare.fleet.paths"),
    ("base-not-pinned", image(bases=(Base("python:3.13", None, ("sha256:base",)),)), "python:3.13"),
    ("layers", image(max_layers=0), "1 layers of its own; allowed: 0"),
    ("vulnerabilities", image(vulnerabilities=Outside(("CVE-1",))), "CVE-1"),
    ("dockerfile", image(lint=Outside(("DL3006",))), "DL3006"),
]


@pytest.mark.parametrize(("rule", "facts", "evidence"), VIOLATIONS)
def test_what_breaks_a_rule_is_shown_by_that_rule_alone(rule: str, facts: ImageFacts, evidence: str) -> None:
    broken = {name: looked.evidence for name, looked in look_at(facts).items() if looked.evidence}
    assert list(broken) == [rule]
    assert broken[rule][0] == evidence


def test_an_image_that_keeps_all_rules_shows_nothing() -> None:
    looked = look_at(image())
    assert list(looked) == [rule.name for rule in RULES]
    assert [one for one in looked.values() if one.evidence or one.not_scanned or one.not_applicable] == []


HARMLESS = [
    program("/opt/app/make"),
    program("/usr/bin/gcc", mode=0o644),
    program("/usr/bin/ldconfig"),
    program("/lib64/ld-linux-x86-64.so.2"),
    image([Entry("/opt/app/link", "l", 0o777)]),
    image([Entry("/opt/app/tmp", "d", 0o1777)]),
    image([Entry("/opt/app/shared", "d", 0o2755)]),
    image([Entry("/etc/resolv.conf"), Entry("/proc", "d"), Entry("/etc", "d")]),
    image([Entry("/usr/bin/python3", "w")]),
    image([Entry("/opt", "d"), Entry("/data", "d")]),
    image(bases=(Base("python:3.13@sha256:" + "0" * 64, None, ("sha256:base",)),)),
]


@pytest.mark.parametrize("facts", HARMLESS)
def test_what_only_resembles_a_violation_is_none(facts: ImageFacts) -> None:
    assert {name: looked.evidence for name, looked in look_at(facts).items() if looked.evidence} == {}


def test_a_file_that_a_later_layer_deletes_breaks_no_rule_about_files() -> None:
    bad = LayerFacts("sha256:own", (Entry("/opt/app/su", "f", 0o4755),))
    gone = LayerFacts("sha256:more", (Entry("/opt/app/su", "w"),))
    assert look_at(image(layers=(BASE, bad, gone)))["setuid"].evidence == ()


def test_what_could_not_be_looked_at_says_why() -> None:
    unknown = image(
        bases=(Base("python@sha256:" + "0" * 64),), sbom=Outside(None, "no syft"), lint=Outside(None, "no hadolint")
    )
    looked = look_at(unknown)
    assert looked["sbom"].not_scanned == "no syft"
    assert looked["dockerfile"].not_scanned == "no hadolint"
    assert "pull it" in looked["layers"].not_scanned
    assert "pull it" in looked["unclaimed-files"].not_scanned


def test_what_a_rule_does_not_concern_is_not_applicable() -> None:
    assert look_at(image(lifecycle="job", config={"health": ()}))["health-check"].not_applicable
    assert look_at(image(bases=()))["base-not-pinned"].not_applicable
