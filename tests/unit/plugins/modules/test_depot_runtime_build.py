# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime_build import Wheels
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import digests_below
from ansible_collections.emorobcare.fleet.plugins.modules import depot_runtime_build

Result = dict[str, t.Any]
Run = t.Callable[..., Result]

WHEEL = "jmespath-1.1.0-py3-none-any.whl"
CONTENT = b"a wheel"
PINS = f"jmespath==1.1.0 --hash=sha256:{hashlib.sha256(CONTENT).hexdigest()}\n"


@pytest.fixture(name="builder")
def builder_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A builder whose ansible-galaxy and pip are stand-ins; the folder is what its collection is built of."""
    source = tmp_path / "builder"
    source.mkdir()
    (source / "emorobcare-fleet-0.1.0.tar").write_bytes(b"the collection")
    (source / "pip-24.2-py3-none-any.whl").write_bytes(b"pip")

    def copy(name: str) -> t.Callable[..., str]:
        def into(*words: t.Any) -> str:
            work = words[1] if len(words) > 1 else words[0]
            (Path(work) / name).write_bytes((source / name).read_bytes())
            return str(Path(work) / name)

        return into

    def download(wheels: Wheels, folder: str, _run: t.Any) -> None:
        assert any(wheels.missing.values())
        (Path(folder) / WHEEL).write_bytes(CONTENT)

    monkeypatch.setattr(depot_runtime_build, "build_collection", copy("emorobcare-fleet-0.1.0.tar"))
    monkeypatch.setattr(depot_runtime_build, "pip_wheel", copy("pip-24.2-py3-none-any.whl"))
    monkeypatch.setattr(depot_runtime_build, "download", download)
    return source


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path, builder: Path) -> Run:
    (tmp_path / "lock.txt").write_text(PINS)

    def run(**args: t.Any) -> Result:
        usual = {
            "dest": str(tmp_path / "runtime"),
            "requirements": str(tmp_path / "lock.txt"),
            "collection": str(builder),
            **args,
        }
        with patch_module_args(usual), pytest.raises(SystemExit):
            depot_runtime_build.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


def test_documentation_and_argument_spec_are_equal() -> None:
    options = yaml.safe_load(depot_runtime_build.DOCUMENTATION)["options"]
    keys = ("type", "elements", "required", "default", "choices")
    told = {name: {key: option[key] for key in keys if key in option} for name, option in options.items()}
    assert told == depot_runtime_build.ARGUMENT_SPEC
    assert set(yaml.safe_load(depot_runtime_build.RETURN)["reason"]["choices"]) <= set(t.get_args(Reason))


def test_all_parts_are_gathered_and_the_second_run_changes_nothing(run: Run, tmp_path: Path) -> None:
    predicted = run(_ansible_check_mode=True)
    assert not (tmp_path / "runtime").exists()
    first = run()
    assert (predicted["changed"], predicted["fetched"]) == (first["changed"], first["fetched"])
    assert first["fetched"] == ["jmespath 1.1.0"]
    files = digests_below(str(tmp_path / "runtime"))
    assert sorted(files) == [
        "README.txt",
        "emorobcare-fleet-0.1.0.tar",
        "pip-24.2-py3-none-any.whl",
        "requirements.txt",
        f"wheels/{WHEEL}",
    ]
    assert run()["changed"] is False
    assert digests_below(str(tmp_path / "runtime")) == files
    assert list(tmp_path.glob("depot-runtime-*")) == []


def test_a_wheel_that_was_changed_is_fetched_again(run: Run, tmp_path: Path) -> None:
    run()
    wheel = tmp_path / "runtime" / "wheels" / WHEEL
    wheel.write_bytes(b"A wheel")
    result = run()
    assert (result["changed"], result["fetched"]) == (True, ["jmespath 1.1.0"])
    assert wheel.read_bytes() == CONTENT


def test_what_no_host_needs_any_more_is_removed(run: Run, tmp_path: Path, builder: Path) -> None:
    run()
    (tmp_path / "runtime" / "wheels" / "old-1-py3-none-any.whl").write_bytes(b"")
    (tmp_path / "runtime" / "emorobcare-fleet-0.0.9.tar").write_bytes(b"")
    (builder / "emorobcare-fleet-0.1.0.tar").write_bytes(b"of another commit")
    predicted = run(_ansible_check_mode=True)
    result = run()
    assert result["removed"] == ["emorobcare-fleet-0.0.9.tar", "wheels/old-1-py3-none-any.whl"]
    assert (predicted["changed"], predicted["removed"]) == (True, result["removed"])
    assert (tmp_path / "runtime" / "emorobcare-fleet-0.1.0.tar").read_bytes() == b"of another commit"


def test_what_is_left_out_is_neither_fetched_nor_pinned(run: Run, tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text(PINS + f"scanner==1 --hash=sha256:{'0' * 64}\n")
    result = run(exclude=["scanner"])
    assert result["fetched"] == ["jmespath 1.1.0"]
    assert "scanner" not in (tmp_path / "runtime" / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"pythons": ["3"]}, "pythons"),
        ({"pythons": []}, "pythons is empty"),
        ({"exclude": ["nosuch"]}, "nosuch is not in the lock file"),
    ],
)
def test_options_that_contradict_are_refused(run: Run, tmp_path: Path, args: dict[str, t.Any], told: str) -> None:
    result = run(**args)
    assert (result["failed"], result["reason"]) == (True, "invalid")
    assert told in result["msg"]
    assert not (tmp_path / "runtime").exists()


def test_a_lock_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    result = run(requirements=str(tmp_path / "none.txt"))
    assert (result["failed"], result["reason"]) == (True, "io_error")
    assert "none.txt" in result["msg"]


def test_by_default_wheels_are_for_this_python_and_debian_13s() -> None:
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    targets = depot_runtime_build.read_targets({"pythons": None, "architecture": "arm64"})
    assert [target.python for target in targets] == list(dict.fromkeys([own, "3.13"]))
    assert {target.architecture for target in targets} == {"arm64"}
