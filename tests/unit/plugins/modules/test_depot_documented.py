# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all modules of depots say of themselves."""

from __future__ import annotations

import importlib
import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.emorobcare.fleet.plugins.doc_fragments._depot import ModuleDocFragment

COLLECTION = pathlib.Path(__file__).parents[4]
MODULES = sorted(path.stem for path in (COLLECTION / "plugins" / "modules").glob("depot_*.py"))
KEYS = ("type", "elements", "required", "default", "choices")


def load(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.emorobcare.fleet.plugins.modules.{name}")


def documented(module: t.Any) -> dict[str, dict[str, t.Any]]:
    """The options of a module's documentation, those of the shared fragment with it."""
    document = yaml.safe_load(module.DOCUMENTATION)
    options = dict(document.get("options", {}))
    if "emorobcare.fleet._depot" in document["extends_documentation_fragment"]:
        options |= yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    return {
        name: {key: option[key] for key in KEYS if key in option and not (key == "required" and not option[key])}
        for name, option in options.items()
    }


@pytest.mark.parametrize("name", MODULES)
def test_the_documentation_says_what_the_options_are(name: str) -> None:
    module = load(name)
    spec = {
        option: {key: value for key, value in facts.items() if key in KEYS}
        for option, facts in module.ARGUMENT_SPEC.items()
    }
    assert documented(module) == spec


def test_every_module_is_in_the_collections_group() -> None:
    runtime = yaml.safe_load((COLLECTION / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    modules = {path.stem for path in (COLLECTION / "plugins" / "modules").glob("[a-z]*.py")}
    assert set(runtime["action_groups"]["fleet"]) == modules


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_tasks_of_the_module_and_name_known_options(name: str) -> None:
    module = load(name)
    tasks = yaml.safe_load(module.EXAMPLES)
    assert any(f"emorobcare.fleet.{name}" in task for task in tasks)
    for task in tasks:
        for other in MODULES:
            used = task.get(f"emorobcare.fleet.{other}") or {}
            assert set(used) <= set(load(other).ARGUMENT_SPEC)
