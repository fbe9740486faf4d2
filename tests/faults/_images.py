# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of images share."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args


def docker(*words: str, text: str | None = None) -> list[str]:
    """Run docker; return the lines that it printed."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=True, input=text)
    return done.stdout.split("\n")[:-1]


def run_module(module: t.Any, **args: t.Any) -> dict[str, t.Any]:
    """Run a module in this process as Ansible would on a host."""
    with patch_module_args(args), contextlib.redirect_stdout(io.StringIO()) as output, pytest.raises(SystemExit):
        module.main()
    return t.cast("dict[str, t.Any]", json.loads(output.getvalue()))
