# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import Probe
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_container import QUESTIONS, Asked
from ansible_collections.emorobcare.fleet.plugins.modules import docker_host_probe

Result = dict[str, t.Any]
Run = t.Callable[..., Result]


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module as Ansible would, on a host whose probes find this; return its JSON."""

    def run(found: dict[str, Probe], **args: t.Any) -> Result:
        def probe(asked: Asked) -> dict[str, Probe]:
            assert asked == Asked(args.get("dns", ""), args.get("outbound", ""), args.get("timeout", 10.0))
            return found

        monkeypatch.setattr(docker_host_probe, "probe", probe)
        with patch_module_args(args), pytest.raises(SystemExit):
            docker_host_probe.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


def test_documentation_and_arguments_agree() -> None:
    documented = yaml.safe_load(docker_host_probe.DOCUMENTATION)["options"]
    assert {name: {key: option[key] for key in ("type", "default")} for name, option in documented.items()} == QUESTIONS


def test_what_passes_and_what_does_not_apply_is_told(run: Run) -> None:
    result = run({"dns": Probe("pass", "yes"), "outbound": Probe("not applicable", "why")}, dns="example.com")
    assert not result["changed"]
    assert result["probes"] == {
        "dns": {"status": "pass", "detail": "yes"},
        "outbound": {"status": "not applicable", "detail": "why"},
    }


def test_a_probe_that_fails_fails_the_task_with_all_results(run: Run) -> None:
    result = run({"dns": Probe("fail", "no answer"), "volume": Probe("pass", "yes")})
    assert (result["failed"], result["reason"]) == (True, "probe_failed")
    assert result["msg"] == "containers of this host do not work as they should: dns: no answer"
    assert set(result["probes"]) == {"dns", "volume"}


def test_what_cannot_be_asked_is_refused(run: Run) -> None:
    assert run({}, outbound="nowhere")["reason"] == "invalid"


def test_nothing_is_asked_in_check_mode(run: Run) -> None:
    with_check = {"_ansible_check_mode": True}
    assert run({"dns": Probe("fail", "no")}, **with_check)["skipped"]
