# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small Debian archive of our own, with signatures that apt checks, behind a server that misbehaves as told."""

from __future__ import annotations

import email.utils
import hashlib
import random
import subprocess
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.faults._answers import Answer
from ansible_collections.emorobcare.fleet.tests.faults._server import FaultServer

SUITE = "trixie"
PROGRAM, LIBRARY = "fleet-program", "fleet-library"
SIZE = 2_000_000  # bytes that the program cannot be compressed below


class Archive:
    """The archive; `uri` is what a mirror is called by, `keyring` the file with its key."""

    def __init__(self, work: Path, server: FaultServer) -> None:
        self.work = work
        self.server = server
        self.keyring = work / "archive.gpg"
        # gpg's agent listens on a socket there, and paths of sockets are short.
        self._home = tempfile.TemporaryDirectory(prefix="gpg-")
        self.uri = f"http://{server.place}/debian"
        self._gpg("--quick-generate-key", "archive@example.org", "default", "default", "never")
        self.keyring.write_bytes(self._gpg("--export"))

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self._home.name, "--kill", "all"], check=True, capture_output=True)
        self._home.cleanup()

    def publish(self, version: str = "1.0", *answers: Answer, sign: bool = True) -> str:
        """Serve the program of a version, and the library that it depends on; return the program's path there.

        Requests for the program get these answers.
        """
        debs = [
            self._build(PROGRAM, version, f"Depends: {LIBRARY} (>= 1)"),
            self._build(LIBRARY, "1:1.0", "Multi-Arch: same"),
        ]
        index = "\n".join(self._stanza(deb) for deb in debs).encode()
        for suite, packages in ((SUITE, index), (f"{SUITE}-updates", b"")):
            self._serve_suite(suite, packages, sign)
        for deb in debs:
            self.server.serve(f"/debian/pool/{deb.name}", deb.read_bytes(), *(answers if deb is debs[0] else ()))
        return f"/debian/pool/{debs[0].name}"

    def _serve_suite(self, suite: str, packages: bytes, sign: bool) -> None:
        base = f"/debian/dists/{suite}"
        name = "main/binary-amd64/Packages"
        told = [
            *("Origin: Debian", "Label: Debian", f"Suite: {suite}", f"Codename: {suite}"),
            *("Architectures: amd64", "Components: main", f"Date: {email.utils.formatdate(usegmt=True)}"),
            *("SHA256:", f" {hashlib.sha256(packages).hexdigest()} {len(packages)} {name}", ""),
        ]
        release = "\n".join(told)
        self.server.serve(f"{base}/{name}", packages)
        if sign:
            self.server.serve(f"{base}/InRelease", self._gpg("--clearsign", content=release.encode()))
        else:
            self.server.serve(f"{base}/Release", release.encode())
            self.server.serve(f"{base}/InRelease", b"", Answer(status=404))

    def _build(self, name: str, version: str, field: str) -> Path:
        tree = self.work / f"{name}-{version.replace(':', '-')}"
        (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n{field}\n"
            "Maintainer: Nobody <nobody@example.org>\nDescription: for tests\n of more than a line\n"
        )
        (tree / "usr" / "share" / name).mkdir(parents=True, exist_ok=True)
        content = random.Random(name).randbytes(SIZE if name == PROGRAM else 1000)
        (tree / "usr" / "share" / name / "data").write_bytes(content)
        deb = self.work / f"{name}_{version.rpartition(':')[2]}_amd64.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(deb)]
        subprocess.run(command, env={"SOURCE_DATE_EPOCH": "1700000000", "PATH": "/usr/bin:/bin"}, check=True)
        return deb

    @staticmethod
    def _stanza(deb: Path) -> str:
        control = subprocess.run(["dpkg-deb", "--field", str(deb)], check=True, capture_output=True, text=True).stdout
        content = deb.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        return f"{control.strip()}\nFilename: pool/{deb.name}\nSize: {len(content)}\nSHA256: {sha256}\n"

    def _gpg(self, *words: str, content: bytes | None = None) -> bytes:
        command = ["gpg", "--homedir", self._home.name, "--batch", "--quiet", "--pinentry-mode", "loopback"]
        command += ["--passphrase", "", *words]
        return subprocess.run(command, input=content, check=True, capture_output=True).stdout


def packages_of(found: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Versions by name of what a result tells."""
    return {one["name"]: one["version"] for one in found["packages"]}
