# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import builtins
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleError, AnsibleTemplatePluginError
from ansible.parsing.dataloader import DataLoader
from ansible.utils.display import Display

from ansible_collections.emorobcare.fleet.plugins.lookup import stack as plugin

COLLECTION = pathlib.Path(__file__).parents[4]
NAME = "emorobcare.fleet.stack"

Lookup = t.Callable[..., list[dict[str, t.Any]]]


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "stack.yml").write_text('name: demo\nservices: {db: {lifecycle: stateful, url: "http://x/{{1+1}}"}}\n')
    (folder / "compose.yml").write_text("services: {db: {image: postgres}}\n")
    (folder / "compose.dev.yml").write_text("services: {db: {mem_limit: 1g}}\n")
    return folder


@pytest.fixture(name="lookup")
def lookup_fixture(tmp_path: pathlib.Path) -> Lookup:
    """Run the plugin with the options of its documentation, for a playbook in tmp_path."""
    options = yaml.safe_load(plugin.DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("lookup", NAME, options)
    loader = DataLoader()
    loader.set_basedir(str(tmp_path))

    def lookup(*terms: t.Any, **direct: t.Any) -> list[dict[str, t.Any]]:
        module = plugin.LookupModule(loader=loader)
        module._load_name = NAME
        return module.run(list(terms), variables={}, **direct)

    return lookup


def test_a_stack_is_found_by_absolute_path_and_below_the_playbook(lookup: Lookup, folder: pathlib.Path) -> None:
    absolute, relative = lookup(str(folder), "demo")
    assert absolute == relative
    assert (absolute["name"], absolute["environment"], absolute["path"]) == ("demo", None, str(folder))


def test_options_choose_the_environment(lookup: Lookup, folder: pathlib.Path) -> None:
    (stack,) = lookup(str(folder), environment="dev", base_source="registry")
    assert stack["compose_files"] == ["compose.yml", "compose.dev.yml"]
    assert lookup(str(folder), environment="") == lookup(str(folder))


def test_ansible_finds_the_lookup_and_takes_its_strings_as_data(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    message = f"{{{{ lookup('{NAME}', '{folder}', environment='d' ~ 'ev') }}}}"
    paths = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTION / "collections"), "ANSIBLE_HOME": str(tmp_path / "home")}
    answer = subprocess.run(
        [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "ansible.builtin.debug", "-a", f"msg={message}"],
        env={**os.environ, **paths, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_LOCALHOST_WARNING": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    stack = json.loads(answer.stdout.partition("=>")[2])["msg"]
    assert (stack["environment"], stack["services"]["db"]["url"]) == ("dev", "http://x/{{1+1}}")


FAULTS = [
    pytest.param("nowhere", {}, r"nowhere/compose\.yml: there is no such file", id="no folder"),
    pytest.param("demo", {"environment": "prod"}, "unknown environment 'prod'", id="no overlay"),
    pytest.param("demo", {"base_source": "ubuntu"}, "base_source", id="unknown source"),
    pytest.param("", {}, "needs the path of a stack's folder, got ''", id="empty path"),
    pytest.param(7, {}, "needs the path of a stack's folder, got 7", id="no path"),
]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("term", "options", "message"), FAULTS)
def test_what_cannot_be_resolved_is_a_clear_error(
    lookup: Lookup, term: t.Any, options: dict[str, str], message: str
) -> None:
    with pytest.raises(AnsibleError, match=message):
        lookup(term, **options)


def test_what_is_dangerous_is_refused_unless_it_is_only_reported(lookup: Lookup, folder: pathlib.Path) -> None:
    (folder / "compose.yml").write_text("services: {db: {image: postgres, pid: host}}\n")
    with pytest.raises(AnsibleTemplatePluginError, match=r"services\.db\.pid: service 'db': pid: host \(CIS 5\.16"):
        lookup(str(folder))
    (stack,) = lookup(str(folder), hardening="report")
    assert [one["rule"] for one in stack["hardening"] if one["level"] == "fail"] == ["host-pid"]


def test_the_rest_is_one_warning(lookup: Lookup, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _display, text: said.append(text))
    lookup(str(folder), hardening="report")
    assert said == []
    lookup(str(folder))
    (warning,) = said
    assert warning.startswith("stack demo: services could be held tighter")
    assert "\ndb: capabilities (5.4), " in warning


def test_a_missing_package_is_named(lookup: Lookup, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "Dockerfile").write_text("FROM scratch\n")
    (folder / "stack.yml").write_text(
        "name: demo\nimages: {db: {context: images}}\nservices: {db: {lifecycle: stateful}}\n"
    )
    real_import = builtins.__import__

    def without_docker(name: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if name.partition(".")[0] == "docker":
            raise ImportError(f"No module named {name!r}", name=name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_docker)
    with pytest.raises(AnsibleTemplatePluginError, match=r"needs the Python package 'docker.*'; install it for "):
        lookup(str(folder))


def test_a_file_that_cannot_be_read_is_named(
    lookup: Lookup, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: pathlib.Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, "read_bytes", refuse)
    with pytest.raises(AnsibleTemplatePluginError, match=r"demo/stack\.yml cannot be read: Permission denied"):
        lookup(str(folder))
