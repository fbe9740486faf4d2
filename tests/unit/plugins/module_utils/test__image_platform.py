# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import (
    PLATFORMS,
    ImagePlatformError,
    Target,
    machine_architecture,
    make_targets,
    parse_platforms,
    platform_input,
    platform_name,
    tag_suffix,
)

A = "a" * 64
AMD64, ARM64, ARM_V7 = PLATFORMS

WORDS = [
    pytest.param(AMD64, "linux/amd64", "-amd64", "amd64", id="amd64"),
    pytest.param(ARM64, "linux/arm64", "-arm64", "arm64", id="arm64"),
    pytest.param(ARM_V7, "linux/arm/v7", "-arm-v7", "armhf", id="a variant"),
]


@pytest.mark.parametrize(("platform", "name", "suffix", "debian"), WORDS)
def test_a_platform_has_names(platform: object, name: str, suffix: str, debian: str) -> None:
    (parsed,) = parse_platforms([name])
    assert parsed == platform
    assert (parsed.name, parsed.suffix, parsed.debian) == (name, suffix, debian)


SAID = [
    pytest.param(("linux", "amd64", ""), "linux/amd64", id="as it is"),
    pytest.param(("linux", "arm64", "v8"), "linux/arm64", id="a variant that says nothing"),
    pytest.param(("linux", "arm", "v7"), "linux/arm/v7", id="a variant"),
    pytest.param(("linux", "arm", ""), "linux/arm/v7", id="an engine on ARM tells no variant"),
    pytest.param(("linux", "arm", "v6"), "linux/arm/v6", id="another variant"),
    pytest.param(("", "", ""), "", id="nothing known"),
]


@pytest.mark.parametrize(("said", "name"), SAID)
def test_what_engines_and_images_say_becomes_a_name(said: tuple[str, str, str], name: str) -> None:
    assert platform_name(*said) == name


@pytest.mark.parametrize(
    ("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", "arm"), ("riscv64", "riscv64")]
)
def test_a_machine_has_an_architecture(machine: str, architecture: str) -> None:
    assert machine_architecture(machine) == architecture


REFUSED = [
    pytest.param(
        ["linux/amd64", "linux/arm46"], r"platforms\[1\] is 'linux/arm46': use one of linux/amd64, ", id="typo"
    ),
    pytest.param(["arm64"], r"platforms\[0\] is 'arm64': .*or leave platforms empty", id="no system"),
    pytest.param(["linux/arm"], r"platforms\[0\] is 'linux/arm': .*linux/arm/v7", id="no variant"),
    pytest.param([""], r"platforms\[0\] is ''", id="nothing"),
    pytest.param(
        ["linux/arm64", "linux/arm64"], r"platforms\[1\] is 'linux/arm64', which is there already", id="twice"
    ),
]


@pytest.mark.parametrize(("names", "message"), REFUSED)
def test_a_wrong_platform_is_refused_with_its_place_and_what_is_allowed(names: list[str], message: str) -> None:
    with pytest.raises(ImagePlatformError, match=message):
        parse_platforms(names)


TARGETS = [
    pytest.param([], "linux/amd64", [(None, False)], id="none: what the engine makes by itself"),
    pytest.param(
        ["linux/arm64", "linux/amd64"],
        "linux/amd64",
        [("linux/arm64", True), ("linux/amd64", False)],
        id="in their order, own and foreign",
    ),
    pytest.param(["linux/amd64"], "linux/arm64", [("linux/amd64", True)], id="foreign alone"),
]


@pytest.mark.parametrize(("names", "own", "targets"), TARGETS)
def test_targets_are_own_or_foreign(names: list[str], own: str, targets: list[tuple[str | None, bool]]) -> None:
    made = make_targets(parse_platforms(names), own)
    assert [(target.name, target.foreign) for target in made] == targets


def test_only_a_foreign_platform_changes_reference_and_input() -> None:
    for target in (Target(), Target(ARM64)):
        assert (target.reference("stack/api:1"), target.input(A)) == ("stack/api:1", A)
    foreign = Target(ARM_V7, foreign=True)
    assert foreign.reference("stack/api:1") == "stack/api:1-arm-v7"
    assert foreign.input(A) == platform_input(A, ARM_V7)


def test_a_foreign_input_is_the_digest_of_input_and_platform() -> None:
    assert platform_input(A, ARM64) == hashlib.sha256(f"{A} linux/arm64".encode()).hexdigest()
    assert len({platform_input(A, platform) for platform in PLATFORMS} | {A}) == 4


@pytest.mark.parametrize(
    ("tag", "suffix"), [("1a1ae377", ""), ("1a-arm64", "-arm64"), ("1a-arm-v7", "-arm-v7"), ("arm64", ""), ("", "")]
)
def test_a_tag_ends_with_a_suffix_or_not(tag: str, suffix: str) -> None:
    assert tag_suffix(tag) == suffix
