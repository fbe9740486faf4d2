# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import Found
from ansible_collections.emorobcare.fleet.plugins.modules import docker_host_audit
from ansible_collections.emorobcare.fleet.tests.unit.plugins._found import good, with_info

Result = dict[str, t.Any]
Run = t.Callable[..., Result]
BAD = with_info(LiveRestoreEnabled=False)


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module as Ansible would, on a host that was found so; return its JSON."""

    def run(found: Found = BAD, **args: t.Any) -> Result:
        asked: list[t.Sequence[str]] = []

        def look(_docker: object, trusted: t.Sequence[str]) -> Found:
            asked.append(trusted)
            return found

        monkeypatch.setattr(docker_host_audit, "look", look)
        with patch_module_args(args), pytest.raises(SystemExit):
            docker_host_audit.main()
        result = t.cast(Result, json.loads(capsys.readouterr().out))
        return {**result, "trusted": asked}

    return run


def test_the_documentation_and_the_argument_spec_agree() -> None:
    documented = yaml.safe_load(docker_host_audit.DOCUMENTATION)["options"]
    spec = docker_host_audit.ARGUMENT_SPEC
    assert {name: {k: v for k, v in one.items() if k != "description"} for name, one in documented.items()} == spec


def test_what_it_returns_is_what_it_documents(run: Run) -> None:
    documented = yaml.safe_load(docker_host_audit.RETURN)
    result = run()
    assert set(documented) - {"reason"} == set(result) - {"changed", "invocation", "trusted"}
    assert set(documented["rows"]["contains"]) == set(result["rows"][0])


def test_a_host_that_fails_is_told_and_fails_the_module_only_if_it_is_strict(run: Run) -> None:
    result = run(trusted_users=["robot"])
    assert not result.get("failed")
    assert not result["changed"]
    assert result["trusted"] == [["robot"]]
    assert result["verdict"] == "1 control fails: 2.15 live-restore"
    assert result["counts"]["fail"] == 1
    assert result["sections"]["2"]["fail"] == 1
    strict = run(strict=True)
    assert strict["failed"]
    assert (strict["reason"], strict["msg"]) == ("controls_failed", result["verdict"])
    assert strict["rows"] == result["rows"]
    assert not run(good(), strict=True).get("failed")


def test_rules_decide_what_fails(run: Run) -> None:
    excuse = {"level": "ignore", "reason": "the engine is old", "until": "2999-01-01"}
    result = run(strict=True, rules={"live-restore": excuse})
    assert not result.get("failed")
    row = next(row for row in result["rows"] if row["slug"] == "live-restore")
    assert (row["status"], row["reason"], row["until"]) == ("exception", "the engine is old", "2999-01-01")


@pytest.mark.parametrize(
    ("args", "reason", "message"),
    [
        ({"rules": {"nothing": {"level": "fail"}}}, "rules_invalid", "unknown rule 'nothing'"),
        ({"compose": {"service": {}}}, "compose_invalid", "this is no Compose document"),
        ({"textfile": "/var/lib/metrics/audit.txt"}, "textfile", "names in .prom alone"),
        ({"textfile": "/proc/none/audit.prom"}, "textfile", "textfile: /proc/none"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(
    run: Run, args: dict[str, t.Any], reason: str, message: str
) -> None:
    result = run(**args)
    assert result["failed"]
    assert result["reason"] == reason
    assert message in result["msg"]


def test_metrics_are_written_but_not_in_check_mode(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "audit.prom"
    run(textfile=str(path), _ansible_check_mode=True)
    assert not path.exists()
    run(textfile=str(path), strict=True)
    assert 'docker_host_audit_failing{control="2.15",slug="live-restore",level="fail"} 1' in path.read_text("utf-8")


def test_a_compose_document_is_looked_at_instead_of_the_host(run: Run) -> None:
    result = run(compose={"services": {"camera": {"image": "camera:1", "privileged": True}}}, strict=True)
    assert result["trusted"] == []
    assert result["msg"] == "1 control fails: 5.5 privileged"
    assert {row["subject"] for row in result["rows"]} == {"camera"}
