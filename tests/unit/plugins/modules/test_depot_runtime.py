# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
import zipfile
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import Reason
from ansible_collections.emorobcare.fleet.plugins.modules import depot_runtime

Result = dict[str, t.Any]
Run = t.Callable[..., Result]


@pytest.fixture(name="source")
def source_fixture(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "wheels").mkdir(parents=True)
    for name in ("requirements.txt", "pip-24.2-py3-none-any.whl", "emorobcare-fleet-0.1.0.tar"):
        (folder / name).write_bytes(b"x")
    with zipfile.ZipFile(folder / "wheels" / "x-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("x.py", "#")
    return folder


@pytest.fixture(name="host")
def host_fixture(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that the module runs, on a host on which all go well."""
    commands: list[list[str]] = []

    def run_command(_self: AnsibleModule, argv: list[str], **_more: t.Any) -> tuple[int, str, str]:
        commands.append(argv)
        if "venv" in argv:
            Path(argv[-1]).mkdir()
        return 0, "3.13\n", ""

    monkeypatch.setattr(AnsibleModule, "run_command", run_command)
    return commands


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path, source: Path, host: list[list[str]]) -> Run:
    def run(**args: t.Any) -> Result:
        paths = {"source": str(source), "dest": str(tmp_path / "opt")}
        with patch_module_args({**paths, **args}), pytest.raises(SystemExit):
            depot_runtime.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


def test_documentation_and_argument_spec_are_equal() -> None:
    options = yaml.safe_load(depot_runtime.DOCUMENTATION)["options"]
    keys = ("type", "elements", "required", "default", "choices")
    told = {name: {key: option[key] for key in keys if key in option} for name, option in options.items()}
    assert told == depot_runtime.ARGUMENT_SPEC
    assert set(yaml.safe_load(depot_runtime.RETURN)["reason"]["choices"]) <= set(t.get_args(Reason))


def test_check_mode_tells_the_truth_and_the_second_run_changes_nothing(
    run: Run, tmp_path: Path, host: list[list[str]]
) -> None:
    predicted = run(_ansible_check_mode=True)
    assert not (tmp_path / "opt").exists()
    first = run()
    assert (predicted["changed"], predicted["id"], predicted["diff"]) == (True, first["id"], first["diff"])
    assert (tmp_path / "opt" / "current").resolve() == Path(first["path"])
    host.clear()
    second = run()
    assert (second["changed"], second["made"], second["bytes_needed"]) == (False, False, 0)
    assert len(host) == 1  # the question for Python's version


def test_another_runtime_makes_another_environment_and_the_one_before_stays(
    run: Run, tmp_path: Path, source: Path
) -> None:
    ids = []
    for content in ("1", "2", "3"):
        (source / "README.txt").write_text(content)
        predicted = run(_ansible_check_mode=True)["removed"]
        result = run()
        assert result["removed"] == predicted
        ids.append(result["id"])
    assert result["removed"] == ids[:1]
    assert sorted(path.name for path in (tmp_path / "opt").iterdir()) == sorted([".lock", "current", *ids[1:]])


def test_going_back_to_an_environment_that_is_there_makes_nothing(run: Run, source: Path) -> None:
    first = run()
    (source / "README.txt").write_text("newer")
    run()
    (source / "README.txt").unlink()
    back = run()
    assert (back["changed"], back["made"], back["id"]) == (True, False, first["id"])


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("args", "reason"),
    [({"keep": 0}, "invalid"), ({"source": "/nowhere"}, "blob_missing"), ({"python": "/no/python"}, "library_missing")],
)
def test_what_cannot_work_is_refused_in_check_mode_too(
    run: Run, tmp_path: Path, args: dict[str, t.Any], reason: str, check: bool
) -> None:
    result = run(**args, _ansible_check_mode=check)
    assert (result["failed"], result["reason"]) == (True, reason)
    assert not (tmp_path / "opt").exists()
