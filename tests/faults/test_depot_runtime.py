# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""depot_runtime with real environments and pip out of its wheel; Ansible is a stand-in of a few lines."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime_build import pip_wheel
from ansible_collections.emorobcare.fleet.plugins.modules import depot_runtime

Result = dict[str, t.Any]
Run = t.Callable[..., Result]

COLLECTIONS = Path(__file__).resolve().parents[2] / "collections"
WHEEL = "standin-1.0-py3-none-any.whl"
# What stands in for Ansible waits while there is a file `wait`, after it has told so in a file `waits`.
CODE = """
import os, sys, time
def galaxy():
    source = os.path.dirname(sys.argv[-1])
    if os.path.exists(source + "/../wait"):
        open(source + "/../waits", "w").close()
        while True:
            time.sleep(60)
def doc():
    print(os.path.realpath(sys.executable), "of", sys.prefix)
"""
_CHILD = f"""
import json, sys
from ansible.module_utils.testing import patch_module_args
from {depot_runtime.__name__} import main
with patch_module_args(json.loads(sys.argv[1])):
    main()
"""


@pytest.fixture(name="source")
def source_fixture(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "wheels").mkdir(parents=True)
    pip_wheel(str(folder))
    (folder / "emorobcare-fleet-0.1.0.tar").write_bytes(b"the collection")
    with zipfile.ZipFile(folder / "wheels" / WHEEL, "w") as wheel:
        info = "standin-1.0.dist-info"
        wheel.writestr("standin.py", CODE)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: standin\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        scripts = "[console_scripts]\nansible-galaxy = standin:galaxy\nansible-doc = standin:doc\n"
        wheel.writestr(f"{info}/entry_points.txt", scripts)
        wheel.writestr(f"{info}/RECORD", "")
    sha256 = hashlib.sha256((folder / "wheels" / WHEEL).read_bytes()).hexdigest()
    (folder / "requirements.txt").write_text(f"standin==1.0 --hash=sha256:{sha256}\n")
    return folder


@pytest.fixture(name="options")
def options_fixture(tmp_path: Path, source: Path) -> Result:
    return {"source": str(source), "dest": str(tmp_path / "opt"), "python": sys.executable}


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], options: Result) -> Run:
    def run(**args: t.Any) -> Result:
        with patch_module_args({**options, **args}), pytest.raises(SystemExit):
            depot_runtime.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


def says(dest: Path) -> str:
    """What the program of the current environment prints."""
    command = [dest / "current" / "bin" / "ansible-doc"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_programs_of_the_current_environment_run_with_its_own_python(run: Run, tmp_path: Path) -> None:
    result = run()
    assert result["changed"] is True
    assert says(tmp_path / "opt") == f"{os.path.realpath(sys.executable)} of {result['path']}"
    assert run()["changed"] is False


def test_a_wheel_that_was_changed_is_refused_and_the_environment_before_stays_current(
    run: Run, tmp_path: Path, source: Path
) -> None:
    before = run()
    said = says(tmp_path / "opt")
    with zipfile.ZipFile(source / "wheels" / WHEEL, "a") as wheel:
        wheel.writestr("evil.py", "x")
    result = run()
    assert (result["failed"], result["reason"]) == (True, "blob_corrupt")
    assert (tmp_path / "opt" / "current").resolve() == Path(before["path"])
    assert says(tmp_path / "opt") == said


def test_a_wheel_that_this_python_does_not_take_is_named(run: Run, source: Path) -> None:
    wheel = source / "wheels" / WHEEL
    wheel.rename(source / "wheels" / "standin-1.0-cp38-cp38-manylinux_2_17_x86_64.whl")
    result = run()
    assert (result["failed"], result["reason"]) == (True, "wrong_hardware")
    assert "no standin==1.0 for Python" in result["msg"]


def test_a_run_that_was_killed_has_changed_nothing_and_the_next_one_finishes(
    run: Run, tmp_path: Path, source: Path, options: Result
) -> None:
    before = run()
    (source / "README.txt").write_text("a newer runtime")
    (tmp_path / "wait").touch()
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (tmp_path / "waits").exists():
        assert child.poll() is None
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    (tmp_path / "wait").unlink()
    assert (tmp_path / "opt" / "current").resolve() == Path(before["path"])
    after = run()
    assert (after["changed"], after["made"]) == (True, True)
    assert says(tmp_path / "opt").endswith(after["path"])
    assert run()["changed"] is False
