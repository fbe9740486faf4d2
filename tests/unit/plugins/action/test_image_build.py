# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import os
import tarfile
import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail
from ansible.playbook.task import Task

from ansible_collections.emorobcare.fleet.plugins.action.image_build import ActionModule
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_input import context_files, image_input

Arguments = dict[str, t.Any]


class Host:
    """A host that answers for the module: it wants what is in `missing`, and reads the contexts it was sent."""

    def __init__(self, missing: set[str]) -> None:
        self.missing = missing
        self.calls: list[tuple[bool, Arguments]] = []
        self.sent: dict[str, list[str]] = {}
        self.answer: dict[str, t.Any] = {}

    def execute(self, check_mode: bool, arguments: Arguments) -> dict[str, t.Any]:
        self.calls.append((check_mode, copy.deepcopy(arguments)))
        images = [
            {"service": image["service"], "built": image["service"] in self.missing}
            for image in arguments["images"]
            for _platform in arguments.get("platforms") or ["the engine's own"]
        ]
        if not check_mode:
            for image in arguments["images"]:
                if image["service"] in self.missing:
                    with tarfile.open(image["context"]) as tar:
                        self.sent[image["service"]] = tar.getnames()
        return {"changed": bool(self.missing), "images": images, **self.answer}


@pytest.fixture(name="images")
def images_fixture(tmp_path: Path) -> list[dict[str, t.Any]]:
    images: list[dict[str, t.Any]] = []
    for service in ("api", "asr"):
        context = tmp_path / service
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM scratch\nLABEL service={service}\n")
        digest = image_input(context_files(context, "Dockerfile"), "Dockerfile", {})
        images.append(
            {
                "service": service,
                "name": f"stack/{service}",
                "reference": f"stack/{service}:{digest[:16]}",
                "input": digest,
                "context": str(context),
                "dockerfile": "Dockerfile",
                "args": {},
                "max_size": None,
            }
        )
    return images


@pytest.fixture(name="remote")
def remote_fixture(tmp_path: Path) -> Path:
    """The host's own temporary folder."""
    folder = tmp_path / "remote"
    folder.mkdir()
    return folder


@pytest.fixture(name="run")
def run_fixture(
    tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> t.Callable[..., tuple[dict[str, t.Any], list[str]]]:
    """Run the action plugin against a host; return its result and the files that were copied to the host."""
    local = tmp_path / "local"
    local.mkdir()
    monkeypatch.setattr("ansible.constants.DEFAULT_LOCAL_TMP", str(local))

    def run(
        host: Host,
        images: list[dict[str, t.Any]],
        transport: str = "local",
        check_mode: bool = False,
        platforms: list[str] | None = None,
    ) -> tuple[dict[str, t.Any], list[str]]:
        task = Task()
        task.args = {"images": images, "secrets": {"ca": "/etc/ca.crt"}, "platforms": platforms or []}
        task.action = "emorobcare.fleet.image_build"
        task.check_mode = check_mode
        shell = SimpleNamespace(tmpdir=None, join_path=os.path.join)
        connection: t.Any = SimpleNamespace(transport=transport, become=None, _shell=shell)
        unused: t.Any = None
        action = ActionModule(task, connection, unused, unused, unused, unused)
        copied: list[str] = []

        def execute_module(module_name: str, module_args: Arguments, task_vars: Arguments) -> dict[str, t.Any]:
            assert module_name == "emorobcare.fleet.image_build"
            return host.execute(bool(task.check_mode), module_args)

        def transfer_file(source: str, target: str) -> None:
            copied.append(target)
            Path(target).write_bytes(Path(source).read_bytes())

        def remove_tmp_path(path: str | None) -> None:
            for name in copied:
                Path(name).unlink()

        monkeypatch.setattr(action, "_execute_module", execute_module)
        monkeypatch.setattr(action, "_make_tmp_path", lambda: setattr(shell, "tmpdir", str(remote)))
        monkeypatch.setattr(action, "_transfer_file", transfer_file)
        monkeypatch.setattr(action, "_fixup_perms2", lambda paths: None)
        monkeypatch.setattr(action, "_remove_tmp_path", remove_tmp_path)
        result = action.run(task_vars={})
        assert task.check_mode is check_mode
        assert os.listdir(local) == []
        assert os.listdir(remote) == []
        return result, copied

    return run


Runner = t.Callable[..., tuple[dict[str, t.Any], list[str]]]


def test_where_nothing_is_to_build_the_module_runs_once_and_nothing_is_sent(
    run: Runner, images: list[dict[str, t.Any]]
) -> None:
    host = Host(set())
    result, copied = run(host, images, transport="ssh")
    assert not result["changed"]
    assert [check_mode for check_mode, _arguments in host.calls] == [True]
    assert copied == []


def test_only_the_contexts_of_images_to_build_are_sent(
    run: Runner, images: list[dict[str, t.Any]], remote: Path
) -> None:
    host = Host({"asr"})
    result, copied = run(host, images, transport="ssh")
    assert result["changed"]
    assert [check_mode for check_mode, _arguments in host.calls] == [True, False]
    assert copied == [f"{remote}/1.tar"]
    assert host.sent == {"asr": ["Dockerfile"]}
    sent = host.calls[1][1]
    assert (sent["images"][0]["context"], sent["secrets"]) == (images[0]["context"], {"ca": "/etc/ca.crt"})


def test_a_context_is_sent_once_for_all_platforms(run: Runner, images: list[dict[str, t.Any]], remote: Path) -> None:
    host = Host({"asr"})
    _result, copied = run(host, images, transport="ssh", platforms=["linux/amd64", "linux/arm64"])
    assert copied == [f"{remote}/1.tar"]
    assert host.sent == {"asr": ["Dockerfile"]}
    assert host.calls[1][1]["platforms"] == ["linux/amd64", "linux/arm64"]


def test_on_this_machine_the_archive_is_used_where_it_is(run: Runner, images: list[dict[str, t.Any]]) -> None:
    host = Host({"api", "asr"})
    _result, copied = run(host, images)
    assert copied == []
    assert host.sent == {"api": ["Dockerfile"], "asr": ["Dockerfile"]}


def test_check_mode_sends_nothing_and_builds_nothing(run: Runner, images: list[dict[str, t.Any]]) -> None:
    host = Host({"api"})
    result, copied = run(host, images, transport="ssh", check_mode=True)
    assert result["changed"]
    assert [check_mode for check_mode, _arguments in host.calls] == [True]
    assert copied == []


def test_what_the_module_refuses_is_told_before_anything_is_sent(run: Runner, images: list[dict[str, t.Any]]) -> None:
    host = Host({"api"})
    host.answer = {"failed": True, "msg": "secrets.ca: the host has no file"}
    result, copied = run(host, images, transport="ssh")
    assert (result["failed"], result["msg"], copied) == (True, "secrets.ca: the host has no file", [])
    assert len(host.calls) == 1


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_missing_context_is_refused(run: Runner, images: list[dict[str, t.Any]], check_mode: bool) -> None:
    host = Host({"api"})
    (Path(images[0]["context"]) / "Dockerfile").unlink()
    Path(images[0]["context"]).rmdir()
    result, _copied = run(host, images, check_mode=check_mode)
    assert result["failed"]
    assert "is not a folder on the controller" in result["msg"]
    assert len(host.calls) == 1


def test_a_missing_context_does_not_matter_when_its_image_is_there(run: Runner, images: list[dict[str, t.Any]]) -> None:
    host = Host({"asr"})
    (Path(images[0]["context"]) / "Dockerfile").unlink()
    result, _copied = run(host, images)
    assert "failed" not in result
    assert list(host.sent) == ["asr"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_context_that_changed_since_the_stack_was_read_is_refused(
    run: Runner, images: list[dict[str, t.Any]], check_mode: bool
) -> None:
    host = Host({"asr"})
    (Path(images[1]["context"]) / "new").write_text("x")
    result, _copied = run(host, images, check_mode=check_mode)
    assert result["failed"]
    assert "a file was changed meanwhile" in result["msg"]


def test_an_argument_that_is_missing_is_refused(run: Runner, images: list[dict[str, t.Any]]) -> None:
    del images[0]["context"]
    with pytest.raises(AnsibleActionFail, match="context"):
        run(Host(set()), images)
