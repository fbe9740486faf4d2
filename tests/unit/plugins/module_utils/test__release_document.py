# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import ServiceGate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import (
    ModelFile,
    canonical,
    decode_files,
    digest,
    parse_document,
    stack_name,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

COMPOSE = b"services: {}\n"


def document(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "schema": 1,
        "stack": "shop",
        "environment": "dev",
        "compose": ["compose.yml"],
        "files": {"compose.yml": digest(COMPOSE), "gate/x": digest(b"x")},
        "images": {"web": {"reference": "shop/web:1", "input": "0" * 64}},
        "models": [{"name": "m", "version": "1", "files": [{"path": "a/b", "sha256": "0" * 64, "size": 3}]}],
        "services": {
            "web": {
                "lifecycle": "stateless",
                "url": "http://x",
                "gate": [{"http": {"port": 1, "body_file": "gate/x", "max_latency": None}}],
            },
            "load": {"lifecycle": "job", "url": None, "gate": []},
        },
        "parameters": {"PORT": {"type": "port"}},
        "secrets": {"key": {"description": ""}},
        "rollout": {"success_threshold": 3, "gate_timeout": 120.0},
        **changes,
    }


def test_a_document_is_read_and_its_id_is_its_digest() -> None:
    release = parse_document(document(), digest(canonical(document())))
    assert release.id == digest(canonical(document()))
    assert (release.stack, release.environment, release.compose) == ("shop", "dev", ("compose.yml",))
    assert release.built == {"web": "shop/web:1"}
    assert release.models[0].folder == "m/1"
    assert release.models[0].files == {"a/b": ModelFile("0" * 64, 3)}
    assert release.urls == {"web": "http://x"}
    assert release.lifecycles == {"load": "job", "web": "stateless"}
    assert (release.gate.success_threshold, release.gate.timeout) == (3, 120.0)


@pytest.mark.parametrize(
    ("pin", "file"),
    [
        ({"size": 0}, ModelFile("0" * 64, 0)),
        ({}, ModelFile("0" * 64, None)),
        ({"required": False}, ModelFile("0" * 64, None, required=False)),
    ],
)
def test_a_models_file_may_have_no_size_and_need_not_be_required(pin: dict[str, t.Any], file: ModelFile) -> None:
    models = [{"name": "m", "version": "1", "files": [{"path": "a", "sha256": "0" * 64, **pin}]}]
    assert parse_document(document(models=models)).models[0].files == {"a": file}


def test_the_id_depends_on_content_and_not_on_the_order_of_keys() -> None:
    backwards = dict(reversed(document().items()))
    assert parse_document(backwards).id == parse_document(document()).id
    assert parse_document(document(environment="prod")).id != parse_document(document()).id
    assert canonical({"b": "ñ", "a": 1.0}) == '{"a":1.0,"b":"ñ"}'.encode()


def test_the_gate_of_what_runs_has_a_plain_check_for_services_the_document_does_not_know() -> None:
    gate = parse_document(document()).gate_of(["other", "load"])
    assert gate.services == (ServiceGate("load", "job"), ServiceGate("other"))


WRONG = [
    pytest.param({"schema": 2}, "schema is 2, this version .* reads 1", id="newer schema"),
    pytest.param({"stack": "Shop"}, "stack 'Shop': a name has lower-case", id="stack"),
    pytest.param({"stack": "../x"}, "stack '../x'", id="stack that leaves its folder"),
    pytest.param({"compose": []}, r"compose: \[\] .* among compose.yml, gate/x", id="no Compose file"),
    pytest.param({"compose": ["other.yml"]}, "compose", id="Compose file that is not there"),
    pytest.param({"files": {"../x": ""}}, "without . and ..", id="path that leaves the folder"),
    pytest.param({"files": {"/etc/x": ""}}, "a relative path", id="absolute path"),
    pytest.param({"files": {"models/x": ""}}, "the folder's own", id="path of the folder's own"),
    pytest.param({"files": {"release.json": ""}}, "the folder's own", id="the document itself"),
    pytest.param({"models": [{"name": "..", "version": "1", "files": []}]}, "models.name: '..'", id="model"),
    pytest.param({"models": [{"name": "m", "version": "a/b", "files": []}]}, "models.version", id="model version"),
    pytest.param(
        {"models": [{"name": "m", "version": "1", "files": [{"path": "a", "sha256": "0"}]}]},
        "models.files.sha256: '0'",
        id="digest of a model's file",
    ),
    pytest.param({"rollout": {}}, "success_threshold: None .* a int", id="no threshold"),
    pytest.param({"rollout": {"success_threshold": 1, "gate_timeout": "2m"}}, "gate_timeout: '2m'", id="text"),
    pytest.param({"services": {"web": None}}, "the release document is none", id="something else altogether"),
    pytest.param({"secrets": []}, r"secrets: \[\] .* a dict", id="another type"),
    pytest.param(
        {"services": {"web": {"gate": [{"http": {"port": 1, "body_file": "gate/y"}}]}}},
        "body_file: 'gate/y' .* one of the release's files",
        id="a body that is not part of it",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_document_that_cannot_be_relied_on_is_refused(changes: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ReleaseError, match=message) as caught:
        parse_document(document(**changes))
    assert caught.value.reason == "release_invalid"


def test_a_document_with_another_id_is_refused() -> None:
    with pytest.raises(ReleaseError, match="was changed after it was made"):
        parse_document(document(), "0" * 64)


GOOD = {"compose.yml": base64.b64encode(COMPOSE).decode(), "gate/x": base64.b64encode(b"x").decode()}


def test_files_are_decoded() -> None:
    assert decode_files(parse_document(document()), GOOD) == {"compose.yml": COMPOSE, "gate/x": b"x"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"gate/x": None}, "'gate/x' is missing among", id="missing"),
        pytest.param({"more": ""}, "'more' is not one of", id="too many"),
        pytest.param({"gate/x": "§"}, "'gate/x' is not base64", id="no base64"),
        pytest.param({"gate/x": "eA"}, "'gate/x' is not base64", id="cut base64"),
        pytest.param({"gate/x": "eQ=="}, "'gate/x' has digest .*, the document says", id="tampered with"),
    ],
)
def test_a_file_that_is_not_what_the_document_says_is_refused(changes: dict[str, str | None], message: str) -> None:
    files = {path: text for path, text in {**GOOD, **changes}.items() if text is not None}
    with pytest.raises(ReleaseError, match=message) as caught:
        decode_files(parse_document(document()), files)
    assert caught.value.reason == "release_invalid"


def test_a_stacks_name_can_be_part_of_a_path() -> None:
    assert stack_name("emorobcare-2") == "emorobcare-2"
    with pytest.raises(ReleaseError):
        stack_name("-x")
