# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_policy import (
    PolicyError,
    Verdict,
    failure_message,
    judge,
    read_policy,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_rules import RULES, Looked

TODAY = datetime.date(2026, 6, 30)
FILES = Looked(("/opt/a (4755)", "/srv/b (4755)"))


def ignore(until: str = "2026-06-30", **more: t.Any) -> dict[str, t.Any]:
    return {"level": "ignore", "reason": "vendor", "until": until, **more}


def verdict(looked: Looked, setting: dict[str, t.Any] | None = None, rule: str = "setuid") -> Verdict:
    all_looked = {one.name: Looked() for one in RULES}
    return judge({**all_looked, rule: looked}, read_policy({rule: setting} if setting else {}), TODAY)


STATES = [
    pytest.param(Looked(), None, "passed", id="nothing found"),
    pytest.param(FILES, None, "failed", id="default"),
    pytest.param(FILES, {"level": "warn"}, "warned", id="warn"),
    pytest.param(FILES, ignore(), "ignored", id="ignored on its last day"),
    pytest.param(FILES, ignore("2026-06-29"), "failed", id="ignored until yesterday"),
    pytest.param(FILES, ignore(paths=["/opt/*", "/srv/*"]), "ignored", id="all paths ignored"),
    pytest.param(FILES, ignore(paths=["/opt/*"]), "failed", id="some paths ignored"),
    pytest.param(Looked(not_scanned="no tool"), None, "not scanned", id="not scanned"),
    pytest.param(Looked(not_scanned="no tool"), {"level": "warn"}, "not scanned", id="not scanned, warn"),
    pytest.param(Looked(not_scanned="no tool"), {"level": "fail"}, "failed", id="a scan is demanded"),
    pytest.param(Looked(not_applicable="a job"), {"level": "fail"}, "not applicable", id="not applicable"),
]


@pytest.mark.parametrize(("looked", "setting", "state"), STATES)
def test_level_date_and_evidence_decide(looked: Looked, setting: dict[str, t.Any] | None, state: str) -> None:
    judged = verdict(looked, setting)
    assert judged.states["setuid"] == state
    assert judged.failed == (state == "failed")
    assert {one for name, one in judged.states.items() if name != "setuid"} == {"passed"}


def test_what_is_ignored_is_told_with_its_reason_and_date() -> None:
    judged = verdict(FILES, ignore(paths=["/opt/*"]))
    assert [finding.evidence for finding in judged.findings] == [("/srv/b (4755)",)]
    (ignored,) = judged.ignored
    told = ignored.as_result()
    assert (told["evidence"], told["reason"], told["until"]) == (["/opt/a (4755)"], "vendor", "2026-06-30")


def test_an_expired_date_is_told() -> None:
    (finding,) = verdict(FILES, ignore("2026-06-29")).findings
    assert finding.message.endswith("(no longer ignored: 2026-06-29 has passed)")


def test_vulnerabilities_only_warn_unless_the_policy_says_more() -> None:
    assert verdict(Looked(("CVE-1",)), rule="vulnerabilities").states["vulnerabilities"] == "warned"


def test_much_evidence_is_counted_and_cut() -> None:
    (finding,) = verdict(Looked(tuple(f"/f{number}" for number in range(30)))).findings
    assert (len(finding.evidence), finding.count) == (20, 30)


FAULTS = [
    ({"setuids": {"level": "warn"}}, "unknown rule 'setuids'"),
    ({"setuid": {"level": "no"}}, r"setuid\.level is 'no'"),
    ({"setuid": "warn"}, r"setuid\.level is None"),
    ({"setuid": {"level": "ignore", "reason": "x"}}, "needs a reason, and until"),
    ({"setuid": {"level": "ignore", "until": "2027-01-01"}}, "needs a reason, and until"),
    ({"setuid": {"level": "ignore", "reason": "x", "until": "2027-02-30"}}, "must be a date"),
    ({"setuid": {"level": "ignore", "reason": "x", "until": "20270228"}}, "must be a date"),
]


@pytest.mark.parametrize(("rules", "message"), FAULTS)
def test_a_policy_that_makes_no_sense_is_refused(rules: dict[str, t.Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        read_policy(rules)


def test_the_message_groups_by_image_and_leaves_out_what_only_warns() -> None:
    bad = verdict(Looked(tuple(f"/f{number}" for number in range(7))))
    message = failure_message({"demo/a:1": bad, "demo/b:1": verdict(Looked())})
    assert message == (
        "1 of 2 images do not pass the audit:\n"
        "demo/a:1\n"
        "  setuid: has setuid or setgid files\n"
        "    /f0\n    /f1\n    /f2\n    /f3\n    /f4\n"
        "    and 2 more\n"
        "    Remove the files or their bit (chmod a-s)."
    )
    assert failure_message({"demo/b:1": verdict(Looked(("x",)), {"level": "warn"})}) == ""
