# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_build import Build, ImageBuildError, Secret
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    INPUT_LABEL,
    Engine,
    Image,
    NoEngineError,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import (
    PLATFORMS,
    Platform,
    platform_input,
)
from ansible_collections.emorobcare.fleet.plugins.modules import image_build

Run = t.Callable[..., dict[str, t.Any]]

A, B = "a" * 64, "b" * 64
API = {"service": "api", "name": "stack/api", "reference": "stack/api:a", "input": A, "context": "/tmp/api.tar"}
ASR = {"service": "asr", "name": "stack/asr", "reference": "stack/asr:b", "input": B, "context": "/tmp/asr.tar"}


class Host(Engine):
    """An engine, and what was built in it."""

    def __init__(self) -> None:
        super().__init__(lambda argv: pytest.fail(f"unexpected command {argv}"))
        self.running = True
        self.images: dict[str, Image] = {}
        self.builds: list[tuple[Build, list[Secret], dict[str, str]]] = []
        self.failing = ""
        self.faults: dict[str, str] = {}
        self.warnings: list[str] = []

    def platform(self) -> str:
        return "linux/amd64"

    def emulation_faults(self, platforms: t.Iterable[Platform], _tmpdir: str) -> dict[str, str]:
        return {one.name: self.faults[one.name] for one in platforms if one.name in self.faults}

    def put(self, reference: str, made_from: str, tagged: float = 1.0, platform: str = "linux/amd64") -> Image:
        image = Image(f"sha256:{reference}", 7, (reference,), {INPUT_LABEL: made_from}, tagged, platform)
        self.images[reference] = image
        return image

    def inspect(self, references: t.Sequence[str]) -> dict[str, Image]:
        if not self.running:
            raise NoEngineError("no engine")
        return {reference: self.images[reference] for reference in references if reference in self.images}

    def versions(self, name: str) -> tuple[Image, ...]:
        return tuple(image for reference, image in self.images.items() if reference.startswith(f"{name}:"))

    def used(self) -> frozenset[str]:
        return frozenset()

    def remove(self, reference: str) -> None:
        del self.images[reference]

    def build(
        self, _engine: Engine, build: Build, secrets: list[Secret], labels: dict[str, str], _tmpdir: str
    ) -> Image:
        self.builds.append((build, secrets, labels))
        if build.wanted.reference == self.failing:
            raise ImageBuildError(f"{self.failing} cannot be built")
        platform = build.wanted.target.name or self.platform()
        return self.put(build.wanted.reference, build.wanted.input, tagged=9.0, platform=platform)


@pytest.fixture(name="host")
def host_fixture(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(image_build, "Engine", lambda: host)
    monkeypatch.setattr(image_build, "build_image", host.build)
    monkeypatch.setattr(image_build, "emulation_faults", host.emulation_faults)
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: host.warnings.append(text))
    return host


@pytest.fixture(name="run")
def run_fixture(host: Host, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module as Ansible would; return its JSON."""

    def run(**args: t.Any) -> dict[str, t.Any]:
        with patch_module_args({"images": [API, ASR], **args}), pytest.raises(SystemExit):
            image_build.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run


def told(result: dict[str, t.Any]) -> list[tuple[t.Any, ...]]:
    return [(image["service"], image["built"], image["reason"], image["previous"]) for image in result["images"]]


def test_check_mode_tells_what_would_be_built_and_why(run: Run, host: Host) -> None:
    host.put("stack/api:old", B)
    result = run(_ansible_check_mode=True)
    assert result["changed"]
    assert told(result) == [("api", True, "input changed", "stack/api:old"), ("asr", True, "missing", None)]
    assert [image["id"] for image in result["images"]] == [None, None]
    assert result["diff"]["before"] == {"stack/api": "stack/api:old", "stack/asr": None}
    assert result["diff"]["after"] == {"stack/api": "stack/api:a", "stack/asr": "stack/asr:b"}
    assert host.builds == []


def test_only_what_is_missing_is_built_and_the_second_run_is_quiet(run: Run, host: Host) -> None:
    host.put("stack/api:a", A)
    result = run(revision="abc")
    assert told(result) == [("api", False, "", None), ("asr", True, "missing", None)]
    assert [build.context for build, _secrets, _labels in host.builds] == ["/tmp/asr.tar"]
    assert host.builds[0][2]["org.opencontainers.image.revision"] == "abc"
    assert (result["images"][1]["id"], result["images"][1]["size"]) == ("sha256:stack/asr:b", 7)
    again = run()
    assert not again["changed"]
    assert len(host.builds) == 1


def test_arguments_dockerfile_and_limit_reach_the_build(run: Run, host: Host) -> None:
    run(images=[{**API, "args": {"A": "1"}, "dockerfile": "x/Dockerfile", "max_size": 100}])
    build = host.builds[0][0]
    assert (build.args, build.dockerfile, build.wanted.max_size) == ({"A": "1"}, "x/Dockerfile", 100)


def test_a_failing_image_leaves_earlier_versions_and_those_already_built(run: Run, host: Host) -> None:
    host.put("stack/asr:old", A)
    host.failing = "stack/asr:b"
    result = run(keep=1)
    assert result["failed"]
    assert result["msg"] == "stack/asr:b cannot be built"
    assert sorted(host.images) == ["stack/api:a", "stack/asr:old"]


def test_after_a_build_only_so_many_versions_are_kept(run: Run, host: Host) -> None:
    for number in (1, 2, 3):
        host.put(f"stack/api:v{number}", B, tagged=float(number))
    assert run(images=[API], keep=2)["removed"] == ["stack/api:v2", "stack/api:v1"]
    assert sorted(host.images) == ["stack/api:a", "stack/api:v3"]


def test_check_mode_removes_nothing(run: Run, host: Host) -> None:
    for number in (1, 2, 3):
        host.put(f"stack/api:v{number}", B, tagged=float(number))
    assert run(images=[API], keep=1, _ansible_check_mode=True)["removed"] == []
    assert len(host.images) == 3


def test_secrets_reach_the_build(run: Run, host: Host, tmp_path: Path) -> None:
    secret = tmp_path / "ca.crt"
    secret.touch()
    run(images=[API], secrets={"ca": str(secret)})
    assert host.builds[0][1] == [Secret("ca", str(secret))]


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_secret_that_the_host_lacks_is_refused_before_anything_is_built(
    run: Run, host: Host, check_mode: bool
) -> None:
    result = run(secrets={"ca": "/nonexistent/ca.crt"}, _ansible_check_mode=check_mode)
    assert result["failed"]
    assert result["msg"].startswith("secrets.ca: the host has no file /nonexistent/ca.crt")
    assert host.builds == []


def test_a_secret_is_not_missed_when_nothing_is_built(run: Run, host: Host) -> None:
    host.put("stack/api:a", A)
    assert not run(images=[API], secrets={"ca": "/nonexistent/ca.crt"})["changed"]


REFUSED = [
    pytest.param([{**API, "name": "stack/other"}], "reference stack/api:a is not of name stack/other", id="other name"),
    pytest.param([{**API, "reference": "stack/api:latest"}], "never latest", id="latest"),
    pytest.param([{**API, "input": "abc"}], "64 lower-case hex digits", id="no digest"),
    pytest.param([API, API], "asked for 2 times", id="twice"),
    pytest.param(
        [{**API, "args": {"A": "1"}, "base_args": ["B"]}],
        "base_args has B, which is none of its args (A)",
        id="base_args",
    ),
]


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(("images", "message"), REFUSED)
def test_a_request_that_makes_no_sense_is_refused(
    run: Run, host: Host, images: list[dict[str, t.Any]], message: str, check_mode: bool
) -> None:
    result = run(images=images, _ansible_check_mode=check_mode)
    assert result["failed"]
    assert message in result["msg"]
    assert host.builds == []


def test_a_missing_engine_is_an_error_but_in_check_mode(run: Run, host: Host) -> None:
    host.running = False
    assert told(run(_ansible_check_mode=True)) == [("api", True, "missing", None), ("asr", True, "missing", None)]
    assert run()["msg"] == "no engine"


BOTH = ["linux/amd64", "linux/arm64"]
WAY_OUT = "linux/arm64 is skipped, because this host cannot run its programs: install something"


def told_of_platforms(result: dict[str, t.Any]) -> list[tuple[t.Any, ...]]:
    return [(image["reference"], image["platform"], image["built"], image["skipped"]) for image in result["images"]]


def test_an_image_is_built_for_each_platform_from_one_context_and_the_second_run_is_quiet(run: Run, host: Host) -> None:
    result = run(images=[API, ASR], platforms=BOTH)
    assert told_of_platforms(result) == [
        ("stack/api:a", "linux/amd64", True, False),
        ("stack/api:a-arm64", "linux/arm64", True, False),
        ("stack/asr:b", "linux/amd64", True, False),
        ("stack/asr:b-arm64", "linux/arm64", True, False),
    ]
    assert [build.context for build, _secrets, _labels in host.builds] == ["/tmp/api.tar"] * 2 + ["/tmp/asr.tar"] * 2
    labels = host.builds[1][2]
    assert labels[INPUT_LABEL] == platform_input(A, PLATFORMS[1])
    assert labels["org.opencontainers.image.version"] == "a-arm64"
    assert not run(images=[API, ASR], platforms=BOTH)["changed"]
    assert not run(images=[API, ASR])["changed"]
    assert len(host.builds) == 4


def test_only_arguments_that_name_our_bases_follow_the_platform(run: Run, host: Host) -> None:
    args = {"BASE_PYTHON": "emorobcare.fleet/base-python:1", "BASE_OTHER": "other:1", "REVISION": "7"}
    run(images=[{**API, "args": args, "base_args": ["BASE_PYTHON"]}], platforms=BOTH)
    assert [build.args for build, _secrets, _labels in host.builds] == [
        args,
        {**args, "BASE_PYTHON": "emorobcare.fleet/base-python:1-arm64"},
    ]


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_platform_that_the_host_cannot_run_is_skipped_with_a_warning_and_the_rest_is_built(
    run: Run, host: Host, check_mode: bool
) -> None:
    host.faults = {"linux/arm64": WAY_OUT}
    result = run(images=[API], platforms=BOTH, _ansible_check_mode=check_mode)
    assert told_of_platforms(result) == [
        ("stack/api:a", "linux/amd64", True, False),
        ("stack/api:a-arm64", "linux/arm64", False, True),
    ]
    skipped = result["images"][1]
    assert (skipped["id"], skipped["size"], skipped["reason"]) == (None, None, WAY_OUT)
    assert host.warnings == [WAY_OUT]
    assert len(host.builds) == (0 if check_mode else 1)
    host.put("stack/api:a", A)
    assert not run(images=[API], platforms=BOTH, _ansible_check_mode=check_mode)["changed"]


def test_a_secret_is_not_missed_when_all_is_skipped(run: Run, host: Host) -> None:
    host.faults = {"linux/arm64": WAY_OUT}
    result = run(images=[API], platforms=["linux/arm64"], secrets={"ca": "/nonexistent/ca.crt"})
    assert not result["changed"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_platform_that_there_is_not_is_refused(run: Run, host: Host, check_mode: bool) -> None:
    result = run(platforms=["linux/arm46"], _ansible_check_mode=check_mode)
    assert result["failed"]
    assert result["msg"].startswith("platforms[0] is 'linux/arm46': use one of linux/amd64, linux/arm64, linux/arm/v7")
    assert host.builds == []


KEPT = [
    pytest.param(BOTH, ("base:1", None), id="the engine's own first"),
    pytest.param(["linux/arm64"], ("base:1-arm64", "linux/arm64"), id="a foreign one where there is no other"),
]


@pytest.mark.parametrize(("platforms", "used"), KEPT)
def test_packages_are_kept_with_a_base_that_is_there(
    run: Run, monkeypatch: pytest.MonkeyPatch, platforms: list[str], used: tuple[str, str | None]
) -> None:
    calls: list[tuple[str, str | None]] = []
    for name in ("fill", "take"):
        monkeypatch.setattr(image_build, name, lambda base, _directory, platform: calls.append((base, platform)))
    image = {**API, "args": {"BASE_X_BUILD": "base:1"}, "base_args": ["BASE_X_BUILD"]}
    run(images=[image], platforms=platforms, cache_directory="/kept")
    assert calls == [used, used]
