# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the fault tests share."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils import _internal
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.modules import model_pull
from ansible_collections.emorobcare.fleet.tests.faults._applying import First, Robot, bring_first, make_robot
from ansible_collections.emorobcare.fleet.tests.faults._crash import can_mount
from ansible_collections.emorobcare.fleet.tests.faults._engines import Engines
from ansible_collections.emorobcare.fleet.tests.faults._faults import Record
from ansible_collections.emorobcare.fleet.tests.faults._pulls import Result, Run, eagerness, small_chunks
from ansible_collections.emorobcare.fleet.tests.faults._releases import Lab, base_image, docker
from ansible_collections.emorobcare.fleet.tests.faults._server import FaultServer
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides
from ansible_collections.emorobcare.fleet.tests.faults.test_bases import make


@pytest.fixture(name="on_a_host", autouse=True)
def on_a_host_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules warn in their results, although a test that needs an action has made this process a controller's."""
    monkeypatch.setattr(_internal, "is_controller", False)


@pytest.fixture(name="direct")
def direct_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy stands between the tests and their servers, whatever the environment says."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(name="server")
def server_fixture(direct: None) -> t.Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(name="mirror")
def mirror_fixture(direct: None) -> t.Iterator[FaultServer]:
    """A second server, for what the first one does not give."""
    with FaultServer() as server:
        yield server


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the module as Ansible would, without waiting between retries; return its JSON."""

    def run(*files: dict[str, t.Any], **more: t.Any) -> Result:
        args = {"name": "speech", "version": "1", "files": list(files), "root": str(tmp_path / "root")}
        with (
            patch_module_args({**args, "retry_delay": 0, "retries": 2, "stall_timeout": 20, **more}),
            pytest.raises(SystemExit),
        ):
            model_pull.main()
        return t.cast("Result", json.loads(capsys.readouterr().out))

    return run


@pytest.fixture(name="disks")
def disks_fixture(tmp_path: Path) -> Path:
    """A folder for file systems in files."""
    if not can_mount(tmp_path):
        pytest.skip("needs root, mkfs.ext4 and loop devices")
    return tmp_path


@pytest.fixture(name="small_chunks")
def small_chunks_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in [*small_chunks()]:
        monkeypatch.setattr(*setting)


@pytest.fixture(name="eager")
def eager_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in [*eagerness()]:
        monkeypatch.setattr(*setting)


@pytest.fixture(name="base", scope="session")
def base_fixture() -> str:
    """An image with a Python and nothing else."""
    return base_image()


@pytest.fixture(name="engines", scope="session")
def engines_fixture(tmp_path_factory: pytest.TempPathFactory, base: str) -> t.Iterator[Engines]:
    """Machines to change; each stands from test to test once one has asked for it."""
    with Engines(tmp_path_factory.mktemp("engines"), base) as engines:
        yield engines


@pytest.fixture(name="lab")
def lab_fixture(tmp_path: Path, base: str) -> t.Iterator[Lab]:
    lab = Lab(tmp_path, base)
    try:
        yield lab
    finally:
        lab.remove()
        assert not lab.containers()
        assert not docker("network", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={lab.stack}")


@pytest.fixture(name="sides")
def sides_fixture(tmp_path: Path, base: str) -> t.Iterator[Sides]:
    lab = Sides(tmp_path, base, ingress=make("base-haproxy"))
    try:
        yield lab
    finally:
        lab.remove()
        assert not lab.running()


@pytest.fixture(name="standing", scope="session")
def standing_fixture(tmp_path_factory: pytest.TempPathFactory, base: str) -> t.Iterator[Sides]:
    """A stack with sides that stands from test to test; `old` brings it to where each begins."""
    lab = Sides(tmp_path_factory.mktemp("standing"), base, ingress=make("base-haproxy"))
    try:
        yield lab
    finally:
        lab.remove()
        assert not lab.running()


@pytest.fixture(name="old")
def old_fixture(standing: Sides) -> Sides:
    """The standing stack on its old release, which a run that finds it there leaves alone."""
    standing.deploy(standing.sided("old"))
    return standing


@pytest.fixture(name="first", scope="session")
def first_fixture(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[First]:
    """A robot that stands from test to test, and what its first stick did."""
    robot = make_robot(tmp_path_factory.mktemp("robot"), make("base-haproxy"))
    try:
        yield bring_first(robot)
    finally:
        robot.remove()


@pytest.fixture(name="robot")
def robot_fixture(first: First) -> Robot:
    """The standing robot, on whatever release the test before has left."""
    return first.robot


@pytest.fixture(name="record", scope="session")
def record_fixture(request: pytest.FixtureRequest) -> t.Iterator[Record]:
    """Collects what faults did; the table is printed when all of them are through."""
    record = Record()
    yield record
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        print(f"\n\n{record}\n" if record else "")
