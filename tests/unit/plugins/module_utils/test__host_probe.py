# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import (
    NAMES,
    Probe,
    Probes,
    Status,
    all_alike,
    as_result,
    broken,
    explain,
    failed,
)


@pytest.mark.parametrize(
    ("before", "after", "is_broken"),
    [
        ("pass", "pass", False),
        ("pass", "fail", True),
        ("pass", "not applicable", True),
        ("fail", "fail", False),
        ("fail", "pass", False),
        ("not applicable", "fail", False),
    ],
)
def test_only_what_passed_before_can_be_broken(before: Status, after: Status, is_broken: bool) -> None:
    found = broken({"dns": Probe(before, "x")}, {"dns": Probe(after, "y")})
    assert found == (("dns",) if is_broken else ())


def test_what_was_not_asked_again_is_broken_and_told() -> None:
    before: Probes = {"dns": Probe("pass", "it resolves")}
    assert broken(before, {}) == ("dns",)
    assert explain(["dns"], before, {}) == ("dns: before pass (it resolves), after not applicable (it was not asked)")


def test_results_are_plain() -> None:
    assert as_result(None) is None
    assert as_result({"dns": Probe("fail", "no")}) == {"dns": {"status": "fail", "detail": "no"}}
    assert failed(all_alike("fail", "no")) == NAMES
    assert failed(all_alike("not applicable", "no")) == ()
