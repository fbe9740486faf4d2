# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs out of Debian's packages, in a folder of their own: nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Tools:
    """Unpacked packages."""

    folder: Path

    def start(self, program: str, *arguments: str | Path) -> str:
        """Run a program to its end; return what it printed."""
        path = next(
            found
            for place in ("usr/bin", "usr/sbin", "bin", "sbin")
            if (found := self.folder / place / program).exists()
        )
        libraries = os.pathsep.join(str(one) for one in self.folder.glob("**/*-linux-gnu*") if one.is_dir())
        done = subprocess.run(
            [str(path), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
        )
        assert done.returncode == 0, f"{program}: {done.stdout} {done.stderr}"
        return done.stdout


def debian_tools(folder: Path, *packages: str) -> Tools:
    """Return the programs of some packages; skip the test where they cannot be had."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("needs apt-get and dpkg-deb to fetch its tools")
    done = subprocess.run(["apt-get", "download", *packages], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{', '.join(packages)} cannot be fetched: {done.stderr.strip()}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "tools"], check=True)
    return Tools(folder / "tools")
