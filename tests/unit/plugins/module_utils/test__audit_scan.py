# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_scan import (
    Scan,
    make_sbom,
    read_scan,
    sbom_bytes,
    sbom_name,
    scan_command,
    scan_image,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Answer

GRYPE = {
    "matches": [
        {
            "vulnerability": {"id": "CVE-1", "severity": "Critical", "fix": {"versions": ["2"]}},
            "artifact": {"name": "zlib", "version": "1"},
        },
        {"vulnerability": {"id": "CVE-2", "severity": "High"}, "artifact": {"name": "zlib", "version": "1"}},
        {"vulnerability": {"id": "CVE-3", "severity": "Unknown"}, "artifact": {"name": "zlib", "version": "1"}},
    ]
}
FOUND = [
    {
        "VulnerabilityID": "CVE-1",
        "Severity": "CRITICAL",
        "PkgName": "zlib",
        "InstalledVersion": "1",
        "FixedVersion": "2",
    },
    {"VulnerabilityID": "CVE-2", "Severity": "HIGH", "PkgName": "zlib", "InstalledVersion": "1"},
]
TRIVY = {"SchemaVersion": 2, "Results": [{"Vulnerabilities": FOUND}, {"Target": "nothing"}]}
CYCLONEDX = {
    "bomFormat": "CycloneDX",
    "serialNumber": "urn:uuid:random",
    "metadata": {"timestamp": "now", "component": {}},
}


def answers(document: t.Any, status: int = 0, errors: str = "") -> t.Callable[..., Answer]:
    return lambda _argv, _environment: Answer(status, json.dumps(document), errors)


@pytest.mark.parametrize("document", [GRYPE, TRIVY], ids=["grype", "trivy"])
def test_vulnerabilities_count_from_a_severity_up(document: t.Any) -> None:
    critical = ("CVE-1 (critical): zlib 1, fixed in 2",)
    assert read_scan(json.dumps(document), "critical") == critical
    assert read_scan(json.dumps(document), "high") == (*critical, "CVE-2 (high): zlib 1, no fix yet")


def test_scanners_fetch_nothing() -> None:
    argv, environment = scan_command("/bin/grype", "sha256:1", "/db")
    assert argv[-1] == "docker:sha256:1"
    assert (environment["GRYPE_DB_AUTO_UPDATE"], environment["GRYPE_DB_CACHE_DIR"]) == ("false", "/db")
    argv, environment = scan_command("/bin/trivy", "sha256:1", "/db")
    assert {"--skip-db-update", "--offline-scan", "--cache-dir=/db"} <= set(argv)


@pytest.fixture(name="program")
def program_fixture(tmp_path: Path) -> str:
    program = tmp_path / "grype"
    program.touch(0o755)
    return str(program)


def test_no_scan_says_why(program: str, tmp_path: Path) -> None:
    assert "there is no program /none" in scan_image(Scan("/none"), "i").reason
    assert "there is no database" in scan_image(Scan(program, str(tmp_path / "none")), "i").reason
    assert "status 1: no db" in scan_image(Scan(program), "i", answers({}, 1, "x\nno db\n")).reason
    assert "cannot be read" in scan_image(Scan(program), "i", answers({})).reason
    assert "cannot be read" in scan_image(Scan(program), "i", answers({"matches": [{}]})).reason
    assert scan_image(Scan(program), "i", answers({"matches": []})).findings == ()


def test_a_bill_of_materials_depends_on_the_image_alone() -> None:
    other = {**CYCLONEDX, "serialNumber": "urn:uuid:other", "metadata": {"timestamp": "later", "component": {}}}
    made = {sbom_bytes(json.dumps(document), "sha256:1", "demo/api:1", "t0") for document in (CYCLONEDX, other)}
    assert len(made) == 1
    assert json.loads(made.pop())["metadata"] == {
        "timestamp": "t0",
        "component": {"name": "demo/api", "version": "sha256:1"},
    }


def test_a_bill_of_materials_is_written_once_and_again_for_another_image(program: str, tmp_path: Path) -> None:
    def make(image: str, write: bool = True) -> bool:
        facts, sbom = make_sbom(program, str(tmp_path / "sbom"), image, "demo/api:1", "t0", write, answers(CYCLONEDX))
        assert facts.findings == ()
        assert sbom is not None
        return sbom.written

    assert make("sha256:1", write=False)
    assert not (tmp_path / "sbom").exists()
    assert [make("sha256:1"), make("sha256:1"), make("sha256:2")] == [True, False, True]
    assert [path.name for path in (tmp_path / "sbom").iterdir()] == [sbom_name("demo/api:1")]


def test_without_syft_or_with_one_that_fails_there_is_none(program: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "sbom")
    facts, sbom = make_sbom("/none", folder, "i", "demo:1", "t0", True)
    assert (facts.reason, sbom) == ("there is no program /none on the host", None)
    facts, sbom = make_sbom(program, folder, "i", "demo:1", "t0", True, answers({}, 1, "broken"))
    assert ("status 1: broken" in facts.reason, sbom) == (True, None)
    facts, sbom = make_sbom(program, folder, "i", "demo:1", "t0", True, answers({}))
    assert ("no CycloneDX" in facts.reason, sbom) == (True, None)
