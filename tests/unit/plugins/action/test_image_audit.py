# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.playbook.task import Task

from ansible_collections.emorobcare.fleet.plugins.action import image_audit
from ansible_collections.emorobcare.fleet.plugins.action.image_audit import ActionModule

Arguments = dict[str, t.Any]
PLUGIN = "ansible_collections.emorobcare.fleet.plugins.action.image_audit"


@pytest.fixture(name="sent")
def sent_fixture(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., Arguments]:
    """Run the action plugin; return what it gives the module."""
    monkeypatch.setattr(f"{PLUGIN}.find_program", lambda name, wanted=None: wanted or f"/here/{name}")
    monkeypatch.setattr(f"{PLUGIN}.lint", lambda file, program: {"findings": [f"{file} {program}"]})

    def run(transport: str = "ssh", image: Arguments | None = None, **args: t.Any) -> Arguments:
        task = Task()
        task.args = {"images": [{"service": "api", "reference": "demo/api:1", **(image or {})}], **args}
        task.action = image_audit.MODULE
        connection: t.Any = SimpleNamespace(transport=transport, become=None, _shell=SimpleNamespace(tmpdir=None))
        unused: t.Any = None
        action = ActionModule(task, connection, unused, unused, unused, unused)
        seen: list[Arguments] = []

        def execute(module_name: str, module_args: Arguments, task_vars: Arguments) -> dict[str, t.Any]:
            assert module_name == image_audit.MODULE
            seen.append(module_args)
            return {"changed": False, "images": []}

        monkeypatch.setattr(action, "_execute_module", execute)
        monkeypatch.setattr(action, "_remove_tmp_path", lambda _path: None)
        assert action.run(task_vars={})["images"] == []
        (only,) = seen
        return only

    return run


def test_dockerfiles_are_looked_at_on_the_controller(sent: t.Callable[..., Arguments], tmp_path: Path) -> None:
    image = {"context": str(tmp_path), "dockerfile": "Dockerfile.run"}
    assert sent(image=image)["images"][0]["lint"] == {"findings": [f"{tmp_path}/Dockerfile.run /here/hadolint"]}
    named = sent(image=image, hadolint="/named")
    assert named["images"][0]["lint"] == {"findings": [f"{tmp_path}/Dockerfile.run /named"]}


def test_an_image_without_a_context_has_no_dockerfile_to_look_at(sent: t.Callable[..., Arguments]) -> None:
    assert sent()["images"][0]["lint"] is None


@pytest.mark.parametrize(
    ("transport", "named", "syft"), [("local", None, "/here/syft"), ("local", "/named", "/named"), ("ssh", None, None)]
)
def test_syft_is_looked_for_here_only_if_the_module_runs_here(
    sent: t.Callable[..., Arguments], transport: str, named: str | None, syft: str | None
) -> None:
    assert sent(transport, **({"syft": named} if named else {}))["syft"] == syft
