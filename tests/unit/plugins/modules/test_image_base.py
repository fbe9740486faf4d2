# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    INPUT_LABEL,
    Engine,
    Image,
    ImageEngineError,
    NoEngineError,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_import import ImageImportError, Order
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import (
    PLATFORMS,
    Platform,
    platform_input,
)
from ansible_collections.emorobcare.fleet.plugins.modules import image_base

Run = t.Callable[..., dict[str, t.Any]]

RECIPE = {"suite": "trixie", "packages": ["netbase"]}
A = "a" * 64
BASE = {"name": "base-x", "reference": "stack/base-x:a", "input": A, "recipe": RECIPE}
OLD = Image("sha256:old", 5, ("stack/base-x:old",), {INPUT_LABEL: "b" * 64}, 1.0)


class Host(Engine):
    """An engine, and what was made in it."""

    def __init__(self) -> None:
        super().__init__(lambda argv: pytest.fail(f"unexpected command {argv}"))
        self.running = True
        self.images = {"stack/base-x:old": OLD}
        self.orders: list[Order] = []
        self.failure: Exception | None = None
        self.faults: dict[str, str] = {}
        self.warnings: list[str] = []

    def platform(self) -> str:
        return "linux/amd64"

    def emulation_faults(self, platforms: t.Iterable[Platform], _tmpdir: str) -> dict[str, str]:
        return {one.name: self.faults[one.name] for one in platforms if one.name in self.faults}

    def inspect(self, references: t.Sequence[str]) -> dict[str, Image]:
        if not self.running:
            raise NoEngineError("no engine")
        return {reference: self.images[reference] for reference in references if reference in self.images}

    def versions(self, name: str) -> tuple[Image, ...]:
        return tuple(image for reference, image in self.images.items() if reference.startswith(f"{name}:"))

    def used(self) -> frozenset[str]:
        return frozenset()

    def remove(self, reference: str) -> None:
        del self.images[reference]

    def make(self, _engine: Engine, order: Order) -> None:
        self.orders.append(order)
        if self.failure:
            raise self.failure
        platform = order.foreign.name if order.foreign else self.platform()
        self.images[order.reference] = Image("sha256:new", 7, (order.reference,), order.labels, 2.0, platform)


@pytest.fixture(name="host")
def host_fixture(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(image_base, "Engine", lambda: host)
    monkeypatch.setattr(image_base, "import_base", host.make)
    monkeypatch.setattr(image_base, "emulation_faults", host.emulation_faults)
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: host.warnings.append(text))
    monkeypatch.setattr(image_base, "TOOLS", ("sh",))
    return host


@pytest.fixture(name="run")
def run_fixture(host: Host, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module as Ansible would; return its JSON."""

    def run(**args: t.Any) -> dict[str, t.Any]:
        with patch_module_args({"bases": [BASE], **args}), pytest.raises(SystemExit):
            image_base.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run


def test_check_mode_predicts_and_makes_nothing(run: Run, host: Host) -> None:
    result = run(_ansible_check_mode=True)
    assert result["changed"]
    assert result["diff"] == {
        "before": {"stack/base-x": "stack/base-x:old"},
        "after": {"stack/base-x": "stack/base-x:a"},
    }
    assert result["bases"] == [
        {
            "name": "base-x",
            "reference": "stack/base-x:a",
            "platform": None,
            "id": None,
            "size": None,
            "built": True,
            "skipped": False,
            "reason": "input changed",
            "seconds": 0.0,
        }
    ]
    assert host.orders == []


def test_a_missing_base_is_made_with_its_label_and_the_second_run_is_quiet(run: Run, host: Host) -> None:
    result = run(mirror="http://mirror.example/debian", work_directory="/spare")
    assert result["changed"]
    assert (result["bases"][0]["id"], result["bases"][0]["size"], result["bases"][0]["built"]) == (
        "sha256:new",
        7,
        True,
    )
    order = host.orders[0]
    assert (order.mirror, order.work_directory, order.labels[INPUT_LABEL]) == (
        "http://mirror.example/debian",
        "/spare",
        A,
    )
    again = run()
    assert not again["changed"]
    assert (again["bases"][0]["id"], again["bases"][0]["built"], again["bases"][0]["reason"]) == (
        "sha256:new",
        False,
        "",
    )
    assert len(host.orders) == 1


def test_older_versions_beyond_keep_go_after_a_new_one_was_made(run: Run, host: Host) -> None:
    run(keep=1)
    assert list(host.images) == ["stack/base-x:a"]


def test_a_failure_keeps_the_previous_base_and_its_cause_is_told(run: Run, host: Host) -> None:
    host.failure = ImageImportError("stack/base-x:a cannot be made: the archive is gone")
    result = run(keep=1)
    assert result["failed"]
    assert result["msg"] == "stack/base-x:a cannot be made: the archive is gone"
    assert list(host.images) == ["stack/base-x:old"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_wrong_recipe_is_refused(run: Run, host: Host, check_mode: bool) -> None:
    result = run(bases=[{**BASE, "recipe": {**RECIPE, "package": []}}], _ansible_check_mode=check_mode)
    assert result["failed"]
    assert "recipe base-x: a key is 'package'" in result["msg"]
    assert host.orders == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_reference_called_latest_is_refused(run: Run, check_mode: bool) -> None:
    result = run(bases=[{**BASE, "reference": "stack/base-x:latest"}], _ansible_check_mode=check_mode)
    assert result["failed"]
    assert "never latest" in result["msg"]


def test_missing_tools_are_an_error_but_in_check_mode(run: Run, monkeypatch: pytest.MonkeyPatch, host: Host) -> None:
    monkeypatch.setattr(image_base, "TOOLS", ("no-such-tool",))
    assert run(_ansible_check_mode=True)["tools_missing"] == ["no-such-tool"]
    result = run()
    assert result["failed"]
    assert "no no-such-tool command" in result["msg"]
    assert host.orders == []


def test_tools_are_not_missed_when_nothing_is_to_be_made(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(image_base, "TOOLS", ("no-such-tool",))
    assert run()["tools_missing"] == []


def test_a_missing_engine_is_an_error_but_in_check_mode(run: Run, host: Host) -> None:
    host.running = False
    predicted = run(_ansible_check_mode=True)
    assert (predicted["changed"], predicted["bases"][0]["reason"]) == (True, "missing")
    assert run()["msg"] == "no engine"


def test_an_engine_that_refuses_is_told(run: Run, host: Host) -> None:
    host.failure = ImageEngineError("docker image load failed: boom")
    assert run()["msg"] == "docker image load failed: boom"


def test_no_bases_are_nothing_to_do(run: Run) -> None:
    result = run(bases=[])
    assert (result["changed"], result["bases"]) == (False, [])


BOTH = ["linux/amd64", "linux/arm64"]
WAY_OUT = "linux/arm64 is skipped, because this host cannot run its programs: install something"


def told(result: dict[str, t.Any]) -> list[tuple[t.Any, ...]]:
    return [(base["reference"], base["platform"], base["built"], base["skipped"]) for base in result["bases"]]


def test_a_base_is_made_for_each_platform_and_the_second_run_is_quiet(run: Run, host: Host) -> None:
    result = run(platforms=BOTH)
    assert told(result) == [
        ("stack/base-x:a", "linux/amd64", True, False),
        ("stack/base-x:a-arm64", "linux/arm64", True, False),
    ]
    assert [order.foreign for order in host.orders] == [None, PLATFORMS[1]]
    assert [order.labels[INPUT_LABEL] for order in host.orders] == [A, platform_input(A, PLATFORMS[1])]
    assert not run(platforms=BOTH)["changed"]
    assert not run()["changed"]
    assert len(host.orders) == 2


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_platform_that_the_host_cannot_run_is_skipped_with_a_warning(run: Run, host: Host, check_mode: bool) -> None:
    host.faults = {"linux/arm64": WAY_OUT}
    result = run(platforms=BOTH, _ansible_check_mode=check_mode)
    assert told(result) == [
        ("stack/base-x:a", "linux/amd64", True, False),
        ("stack/base-x:a-arm64", "linux/arm64", False, True),
    ]
    assert [base["reason"] for base in result["bases"]] == ["input changed", WAY_OUT]
    assert host.warnings == [WAY_OUT]
    assert result["changed"]
    assert len(host.orders) == (0 if check_mode else 1)


def test_where_all_that_is_missing_is_skipped_nothing_is_needed_and_nothing_changes(
    run: Run, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.faults = {"linux/arm64": WAY_OUT}
    monkeypatch.setattr(image_base, "TOOLS", ("no-such-tool",))
    result = run(platforms=["linux/arm64"])
    assert (result["changed"], result["tools_missing"], host.orders) == (False, [], [])


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_platform_that_there_is_not_is_refused(run: Run, host: Host, check_mode: bool) -> None:
    result = run(platforms=["linux/arm46"], _ansible_check_mode=check_mode)
    assert result["failed"]
    assert result["msg"].startswith("platforms[0] is 'linux/arm46': use one of linux/amd64, linux/arm64, linux/arm/v7")
    assert host.orders == []
