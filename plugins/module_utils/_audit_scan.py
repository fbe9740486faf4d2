# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Scanners beside the engine: syft for the bill of materials, trivy or grype for known vulnerabilities.

What is asked of them and what their answers mean is pure; they run offline, with a database that the user gives.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import typing as t
import uuid
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import Outside
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Answer
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, sync_dir

SEVERITIES = ("negligible", "low", "medium", "high", "critical")

Environment = dict[str, str]
Run = t.Callable[[t.Sequence[str], Environment], Answer]


@dataclass(frozen=True)
class Scan:
    """How to scan: program (None: trivy or grype on PATH), folder of its database, least severity that counts."""

    program: str | None = None
    database: str | None = None
    severity: str = "critical"


@dataclass(frozen=True)
class Sbom:
    """A bill of materials: its place on the host, the SHA-256 of the file, and whether it was written just now."""

    path: str
    sha256: str
    written: bool


def run_tool(argv: t.Sequence[str], environment: Environment) -> Answer:
    """Run a scanner to its end."""
    process = start(argv, {**os.environ, "LC_ALL": "C.UTF-8", **environment})
    output, errors = process.communicate()
    return Answer(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


def find_program(wanted: str | None, names: t.Sequence[str]) -> str | None:
    """Return the program that was named, or the first of those names on PATH; None where there is none."""
    if wanted is not None:
        return wanted if os.access(wanted, os.X_OK) else None
    return next((found for found in map(shutil.which, names) if found), None)


def scan_command(program: str, image: str, database: str | None) -> tuple[list[str], Environment]:
    """Return the command and its settings for one image of the engine; nothing is fetched."""
    if "grype" in os.path.basename(program):
        environment = {
            "GRYPE_DB_AUTO_UPDATE": "false",
            "GRYPE_DB_VALIDATE_AGE": "false",
            "GRYPE_CHECK_FOR_APP_UPDATE": "false",
        }
        if database:
            environment["GRYPE_DB_CACHE_DIR"] = database
        return [program, "--quiet", "--output=json", f"docker:{image}"], environment
    cache = [f"--cache-dir={database}"] if database else []
    offline = ["--skip-db-update", "--skip-java-db-update", "--skip-version-check", "--offline-scan"]
    return [program, "image", "--quiet", "--format=json", "--scanners=vuln", *offline, *cache, image], {}


def read_scan(output: str, severity: str) -> tuple[str, ...]:
    """Return the vulnerabilities of a severity or graver, from the JSON of trivy or of grype.

    :raises ValueError: it is neither.
    """
    document = json.loads(output)
    try:
        found = _grype(document) if "matches" in document else _trivy(document)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"its answer lacks {exc}") from None
    least = SEVERITIES.index(severity)
    grave = {text for level, text in found if level in SEVERITIES and SEVERITIES.index(level) >= least}
    return tuple(sorted(grave))


def _trivy(document: t.Any) -> list[tuple[str, str]]:
    if "SchemaVersion" not in document:
        raise KeyError("SchemaVersion")
    return [
        (
            one["Severity"].lower(),
            _vulnerability(
                one["VulnerabilityID"],
                one["Severity"],
                one["PkgName"],
                one["InstalledVersion"],
                one.get("FixedVersion") or "",
            ),
        )
        for result in document.get("Results") or ()
        for one in result.get("Vulnerabilities") or ()
    ]


def _grype(document: t.Any) -> list[tuple[str, str]]:
    return [
        (
            one["vulnerability"]["severity"].lower(),
            _vulnerability(
                one["vulnerability"]["id"],
                one["vulnerability"]["severity"],
                one["artifact"]["name"],
                one["artifact"]["version"],
                ", ".join(one["vulnerability"].get("fix", {}).get("versions") or ()),
            ),
        )
        for one in document["matches"]
    ]


def _vulnerability(name: str, severity: str, package: str, version: str, fixed: str) -> str:
    return f"{name} ({severity.lower()}): {package} {version}{f', fixed in {fixed}' if fixed else ', no fix yet'}"


def scan_image(scan: Scan, image: str, run: Run = run_tool) -> Outside:
    """Return the known vulnerabilities of an image, or why there was no scan."""
    program = find_program(scan.program, ("trivy", "grype"))
    if program is None:
        wanted = scan.program or "trivy or grype"
        return Outside(None, f"there is no program {wanted} on the host")
    if scan.database is not None and not os.path.isdir(scan.database):
        return Outside(None, f"there is no database in {scan.database}")
    answer = run(*scan_command(program, image, scan.database))
    if answer.status != 0:
        return Outside(None, f"{program} failed with status {answer.status}: {_last(answer.errors)}")
    try:
        return Outside(read_scan(answer.output, scan.severity))
    except ValueError as exc:
        return Outside(None, f"{program} gave an answer that cannot be read: {exc}")


def sbom_name(reference: str) -> str:
    """Return the name of the file for an image, by its reference."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", reference) + ".cdx.json"


def sbom_bytes(output: str, image: str, reference: str, created: str) -> bytes:
    """Return a CycloneDX document that depends on the image alone: syft puts a random number and the time into it.

    :raises ValueError: it is no such document.
    """
    document = json.loads(output)
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise ValueError("it is no CycloneDX document")
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, image)}"
    metadata = document.setdefault("metadata", {})
    metadata["timestamp"] = created
    if isinstance(metadata.get("component"), dict):
        metadata["component"].update(name=reference.rpartition(":")[0], version=image)
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def make_sbom(
    program: str | None, folder: str, image: str, reference: str, created: str, write: bool, run: Run = run_tool
) -> tuple[Outside, Sbom | None]:
    """Return the bill of materials of an image, made if the folder has none of this very image yet."""
    path = os.path.join(folder, sbom_name(reference))
    try:
        with open(path, "rb") as file:
            present = file.read()
        if json.loads(present)["metadata"]["component"]["version"] == image:
            return Outside(()), Sbom(path, hashlib.sha256(present).hexdigest(), False)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is none, or it is another image's
    found = find_program(program, ("syft",))
    if found is None:
        return Outside(None, f"there is no program {program or 'syft'} on the host"), None
    answer = run(
        [found, "scan", "--quiet", "--output=cyclonedx-json", f"docker:{image}"], {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
    )
    if answer.status != 0:
        return Outside(None, f"{found} failed with status {answer.status}: {_last(answer.errors)}"), None
    try:
        content = sbom_bytes(answer.output, image, reference, created)
    except ValueError as exc:
        return Outside(None, f"{found} gave an answer that cannot be read: {exc}"), None
    if write:
        write_durably(path, content)
    return Outside(()), Sbom(path, hashlib.sha256(content).hexdigest(), True)


def write_durably(path: str, content: bytes) -> None:
    """Write a file whole or not at all."""
    make_dirs(os.path.dirname(path))
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    os.rename(temporary, path)
    sync_dir(os.path.dirname(path))


def _last(text: str) -> str:
    return next((line.strip()[:300] for line in reversed(text.splitlines()) if line.strip()), "nothing said")
