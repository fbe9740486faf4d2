# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._zipapp import loaded_source, pack, sources_of

PACKAGE = "ansible_collections.emorobcare.fleet.plugins.module_utils"
TREE = {
    "_a": f"import os\nfrom {PACKAGE}._b import x\nfrom {PACKAGE}._c import (\n    y,\n)\n",
    "_b": f"def x():\n    from {PACKAGE}._d import z\n    return z\n",
    "_c": f"from {PACKAGE}._a import w  # around in a circle\ny = 'from {PACKAGE}._e import no'\n",
    "_d": "z = 1\n",
}


def test_all_that_is_imported_belongs_to_it_inside_functions_too_and_nothing_else() -> None:
    assert sources_of("_a", TREE.__getitem__) == TREE
    assert set(sources_of("_b", TREE.__getitem__)) == {"_b", "_d"}


def test_a_source_comes_from_the_loader_of_its_module() -> None:
    assert "def loaded_source" in loaded_source("_zipapp")
    with pytest.raises(ImportError, match="_no_such_util is not there"):
        loaded_source("_no_such_util")


def test_the_same_sources_make_the_same_bytes_in_any_order_and_run_by_themselves(tmp_path: Path) -> None:
    sources = {"_d": TREE["_d"], "_b": TREE["_b"]}
    start = f"from {PACKAGE}._b import x\nprint(x())\n"
    content = pack(sources, start, sys.executable)
    assert content == pack(dict(sorted(sources.items())), start, sys.executable)
    program = tmp_path / "program.pyz"
    program.write_bytes(content)
    program.chmod(0o755)
    done = subprocess.run([program], env={"PYTHONPATH": "/nowhere"}, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")
    with zipfile.ZipFile(program) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
