# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleTemplatePluginError

from ansible_collections.emorobcare.fleet.plugins.filter.release_status import FilterModule


def test_the_filter_makes_lines_of_what_the_module_returns() -> None:
    (show,) = FilterModule().filters().values()
    assert show({"engine": None, "stacks": []}, "robot-1") == ["robot-1: no stack"]


@pytest.mark.parametrize("found", [None, "text", {"msg": "it failed"}])
def test_anything_else_is_refused_with_the_way_out(found: t.Any) -> None:
    with pytest.raises(AnsibleTemplatePluginError, match="register the result of"):
        FilterModule().filters()["release_status"](found, "robot-1")
