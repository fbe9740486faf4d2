# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import datetime
import io
import json
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils import _audit_look
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_archive import SavedImage
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import Probe
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_rules import RULE_NAMES
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import NoEngineError
from ansible_collections.emorobcare.fleet.plugins.modules import image_audit
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._audit import BASE, CONFIG, OWN

REFERENCE = "demo/api:1"
IMAGE = {"Id": "sha256:1", "Size": 5100, "RepoTags": [REFERENCE], "RootFS": {"Layers": list(CONFIG.diff_ids)}}
BASE_IMAGE = {"Id": "sha256:b", "Size": 5000, "RepoTags": ["base:1"], "RootFS": {"Layers": ["sha256:base"]}}
WANTED = {
    "service": "api",
    "reference": REFERENCE,
    "bases": [{"reference": "base:1", "recipe": "base"}],
    "lint": {"findings": []},
}


@pytest.fixture(name="engine", autouse=True)
def engine_fixture(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, t.Any]]:
    """The engine's images by reference; a test may change them."""
    images = {REFERENCE: IMAGE, "base:1": BASE_IMAGE}
    saved = SavedImage("sha256:1", (REFERENCE,), CONFIG, (BASE, OWN))
    monkeypatch.setattr(image_audit, "inspect", lambda names: {name: images[name] for name in names if name in images})
    monkeypatch.setattr(_audit_look, "_read_saved", lambda _references, _known: [saved])
    monkeypatch.setattr(_audit_look, "run_probe", lambda _image, _config: Probe(True))
    return images


def run(image: dict[str, t.Any] | None = None, **args: t.Any) -> dict[str, t.Any]:
    arguments = {"images": [{**WANTED, **(image or {})}], "scan": {"program": "/none"}, **args}
    with patch_module_args(arguments), contextlib.redirect_stdout(io.StringIO()) as output, pytest.raises(SystemExit):
        image_audit.main()
    return t.cast("dict[str, t.Any]", json.loads(output.getvalue()))


def test_an_image_that_keeps_all_rules_passes_and_is_described() -> None:
    result = run()
    (image,) = result["images"]
    assert not result["changed"]
    assert (image["passed"], image["findings"], image["size"], image["max_size"]) == (True, [], 5100, 500_000_000)
    assert set(image["states"]) == set(RULE_NAMES)
    assert [(layer["own"], layer["step"]) for layer in image["layers"]] == [
        (False, "base"),
        (True, "COPY app /opt/app"),
    ]
    assert image["tree"]["size"] == 5100


def test_a_violation_fails_and_everything_is_told_anyway() -> None:
    result = run({"max_size": 1000})
    assert result["failed"]
    assert result["msg"].startswith(f"1 of 1 images do not pass the audit:\n{REFERENCE}\n  size: is too large")
    assert result["images"][0]["states"]["size"] == "failed"


def test_who_decides_for_himself_is_told_and_does_not_fail() -> None:
    result = run({"max_size": 10}, strict=False)
    assert not result.get("failed")
    assert not result["images"][0]["passed"]
    assert "size: is too large" in result["verdict"]


def test_an_ignored_violation_passes_until_its_date() -> None:
    tomorrow = (datetime.date.today() + datetime.timedelta(days=1)).isoformat()
    rule = {"level": "ignore", "reason": "known", "until": tomorrow}
    result = run({"max_size": 1000, "rules": {"size": rule}})
    assert not result.get("failed")
    assert result["images"][0]["ignored"][0]["reason"] == "known"
    assert run({"max_size": 1000, "rules": {"size": {**rule, "until": "2020-01-01"}}})["failed"]


def test_a_policy_that_makes_no_sense_is_refused_before_anything_is_read() -> None:
    assert "unknown rule 'sizes'" in run({"rules": {"sizes": {"level": "warn"}}})["msg"]


def test_an_image_that_is_not_there_is_an_error_but_not_in_a_check_run(engine: dict[str, dict[str, t.Any]]) -> None:
    del engine[REFERENCE]
    assert run()["msg"] == f"the engine does not have {REFERENCE}; build first, then audit"
    assert run(_ansible_check_mode=True)["images"] == []


def test_missing_images_are_told_before_anything_is_read(engine: dict[str, dict[str, t.Any]]) -> None:
    result = run(missing="report", needed=["door:1"])
    assert (result["missing"], result["images"], result.get("failed", False)) == (["door:1"], [], False)
    engine["door:1"] = BASE_IMAGE
    result = run(missing="report", needed=["door:1"])
    assert (result["missing"], [image["reference"] for image in result["images"]]) == ([], [REFERENCE])
    del engine[REFERENCE]
    assert run(missing="report", needed=["door:1"])["missing"] == [REFERENCE]


def test_an_image_that_was_made_from_something_else_counts_as_missing(engine: dict[str, dict[str, t.Any]]) -> None:
    assert run({"input": "a" * 64}, missing="report")["missing"] == [REFERENCE]
    labels = {"org.emorobcare.fleet.input": "a" * 64}
    engine[REFERENCE] = {**IMAGE, "Config": {"Labels": labels}}
    assert run({"input": "a" * 64}, missing="report")["missing"] == []
    assert run({"input": "b" * 64})["msg"] == f"the engine does not have {REFERENCE}; build first, then audit"


def test_a_host_without_an_engine_can_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_references: list[str]) -> t.NoReturn:
        raise NoEngineError("no engine")

    monkeypatch.setattr(image_audit, "inspect", refuse)
    assert run()["msg"] == "no engine"
    assert run(_ansible_check_mode=True)["images"] == []


def test_documentation_and_argument_spec_are_equal() -> None:
    def described(options: dict[str, t.Any]) -> dict[str, t.Any]:
        return {
            name: {
                **{key: option[key] for key in ("type", "elements", "required", "default", "choices") if key in option},
                **({"options": described(option["suboptions"])} if "suboptions" in option else {}),
            }
            for name, option in options.items()
        }

    assert described(yaml.safe_load(image_audit.DOCUMENTATION)["options"]) == image_audit.ARGUMENT_SPEC
