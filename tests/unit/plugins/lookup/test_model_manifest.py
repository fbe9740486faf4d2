# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import builtins
import pathlib
import typing as t

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleTemplatePluginError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.emorobcare.fleet.plugins.lookup import model_manifest as plugin
from ansible_collections.emorobcare.fleet.plugins.plugin_utils import _stack_schema

Lookup = t.Callable[..., list[dict[str, t.Any]]]

PLAIN = '{"speech": {"url": "https://h/a/m.bin", "checksum": "sha256:%s", "size": "14GB"}}' % ("0" * 64)
LISTED = """\
- name: speech
  version: "1"
  files:
    - {path: m.bin, sha256: "%s", size: 3, source: "https://h/2/m.bin"}
""" % ("0" * 64)


@pytest.fixture(name="lookup")
def lookup_fixture(tmp_path: pathlib.Path) -> Lookup:
    """Run the plugin with the options of its documentation, for a playbook in tmp_path."""
    options = yaml.safe_load(plugin.DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("lookup", plugin.NAME, options)
    loader = DataLoader()
    loader.set_basedir(str(tmp_path))
    (tmp_path / "models.json").write_text(PLAIN)
    (tmp_path / "models.yml").write_text(LISTED)

    def lookup(*terms: t.Any) -> list[dict[str, t.Any]]:
        module = plugin.LookupModule(loader=loader)
        module._load_name = plugin.NAME
        return module.run(list(terms), variables={})

    return lookup


def test_either_form_gives_what_model_pull_takes(lookup: Lookup, tmp_path: pathlib.Path) -> None:
    plain, listed = lookup("models.json", str(tmp_path / "models.yml"))
    file = {"path": "m.bin", "sha256": "0" * 64, "required": True}
    assert plain == {
        "path": str(tmp_path / "models.json"),
        "models": [
            {
                "name": "speech",
                "version": "sha256-000000000000",
                "files": [{**file, "size": "14GB", "sources": ["https://h/a/m.bin"]}],
            }
        ],
    }
    assert listed["models"] == [
        {"name": "speech", "version": "1", "files": [{**file, "size": 3, "sources": ["https://h/2/m.bin"]}]}
    ]


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("", "needs the path of a file of models, got ''"),
        (7, "needs the path of a file of models, got 7"),
        ("nowhere.json", r"nowhere\.json cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
        ("bad.json", r"bad\.json:1: speech\.checksum: .* is not allowed"),
    ],
)
def test_what_cannot_be_read_is_a_clear_error(
    lookup: Lookup, tmp_path: pathlib.Path, term: t.Any, message: str
) -> None:
    (tmp_path / "bad.json").write_text(PLAIN.replace("sha256:", "md5:"))
    with pytest.raises(AnsibleTemplatePluginError, match=message):
        lookup(term)


def test_a_missing_package_is_named(lookup: Lookup, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_jsonschema(name: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if name.partition(".")[0] == "jsonschema":
            raise ImportError(f"No module named {name!r}", name=name)
        return real_import(name, *args, **kwargs)

    _stack_schema._validator.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_jsonschema)
    with pytest.raises(AnsibleTemplatePluginError, match=r"needs the Python package 'jsonschema'; install it for "):
        lookup("models.json")
