# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_library import need_tuf
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._libraries import pack_libraries

ROOT = Path(__file__).resolve().parents[4]

# What is in the environment of the tests is hidden, but for the collection.
CHILD = """
import sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path] + sys.argv[2:]
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_library import need_tuf
try:
    need_tuf(sys.argv[1])
    need_tuf(sys.argv[1])
except DepotError as exc:
    print(exc.reason, sys.argv[1] in str(exc), sys.argv[1] in sys.path)
else:
    import tuf, tuf.ngclient, securesystemslib
    print(tuf.__file__)
"""


def child(library: Path, *more: Path) -> str:
    command = [sys.executable, "-c", CHILD, str(library), *map(str, more)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(name="library", scope="module")
def library_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as a host has it."""
    path = tmp_path_factory.mktemp("lib") / "fleet-depot.pyz"
    path.write_bytes(pack_libraries())
    return path


def test_what_the_controller_has_is_used() -> None:
    before = list(sys.path)
    need_tuf("/nonexistent")
    assert sys.path == before


def test_the_archive_is_used_where_there_is_nothing_else(library: Path) -> None:
    assert child(library) == f"{library}/tuf/__init__.py"


def test_the_archive_is_used_where_the_host_has_an_older_one(library: Path, tmp_path: Path) -> None:
    (tmp_path / "tuf" / "ngclient").mkdir(parents=True)
    (tmp_path / "tuf" / "__init__.py").write_text("__version__ = '5.1.0'")
    (tmp_path / "tuf" / "ngclient" / "__init__.py").touch()
    assert child(library, tmp_path) == f"{library}/tuf/__init__.py"


def test_without_both_the_way_out_is_told(tmp_path: Path) -> None:
    assert child(tmp_path / "none.pyz") == "library_missing True False"


def test_an_archive_that_is_torn_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "torn.pyz").write_bytes(b"PK\x03\x04")
    assert child(tmp_path / "torn.pyz") == "library_missing True False"


def test_tools_can_import_every_file_without_the_libraries() -> None:
    names = [f"module_utils._depot_{name}" for name in ("library", "state", "trust", "tuf")]
    names += [f"plugin_utils._depot_{name}" for name in ("ceremony", "keys", "metadata")]
    code = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in ("tuf", "securesystemslib"))
    code += "".join(f"import ansible_collections.emorobcare.fleet.plugins.{name}\n" for name in names)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
