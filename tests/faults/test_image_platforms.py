# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bases and images for another processor: made, run and not made again where they can be, skipped aloud where not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_debian import SOURCE_DATE_EPOCH
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Engine
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_settle import settle_image
from ansible_collections.emorobcare.fleet.plugins.modules import image_base, image_build
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_context import read_context, write_archive
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_input import context_files, image_input
from ansible_collections.emorobcare.fleet.tests.faults._emulation import ARM64, ARM_V7, ROOT, emulated, fault_of
from ansible_collections.emorobcare.fleet.tests.faults._releases import docker, run_module

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
STACK = f"fleet-test-{uuid.uuid4().hex[:8]}"

# A shell, and a file that a program of the tree writes while the base is made: the machine that it believes to run on.
RECIPE = {
    "suite": "trixie",
    "packages": ["busybox-static"],
    "run": [["/usr/bin/busybox", "sh", "-c", "/usr/bin/busybox uname -m > /machine"]],
    "remove": ["/usr/share", "/etc"],
    "links": {f"/bin/{name}": "/usr/bin/busybox" for name in ("cat", "sh", "uname")},
    "environment": {"PATH": "/bin:/usr/bin"},
}
DIGEST = hashlib.sha256(json.dumps(RECIPE, sort_keys=True).encode()).hexdigest()
REFERENCE = f"{STACK}/base-test:{DIGEST[:16]}"
BASE = {"name": "base-test", "reference": REFERENCE, "input": DIGEST, "recipe": RECIPE}
ARGS = {"BASE_TEST": REFERENCE}
DOCKERFILE = "ARG BASE_TEST\nFROM ${BASE_TEST}\nRUN uname -m > /built-on\n"


def ours() -> list[str]:
    """References of all images of this test run."""
    return docker("image", "ls", "--filter", f"reference={STACK}/*", "--format", "{{.Repository}}:{{.Tag}}").split()


@pytest.fixture(autouse=True)
def _leave_no_images() -> t.Iterator[None]:
    yield
    if references := ours():
        docker("image", "rm", *references)
    assert ours() == []


@pytest.fixture(name="own", scope="module")
def own_fixture() -> str:
    """The engine's own platform."""
    own = Engine().platform()
    if own == ARM64:
        pytest.skip("this engine is of arm64 itself, so that nothing of arm64 is foreign")
    return own


@pytest.fixture(name="emulated")
def emulated_fixture(own: str) -> t.Iterator[None]:
    with emulated(ARM64):
        yield


@pytest.fixture(name="image")
def image_fixture(tmp_path: Path) -> dict[str, t.Any]:
    """What image_build is asked for: a service on the base."""
    context = tmp_path / "service"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    digest = image_input(context_files(context, "Dockerfile"), "Dockerfile", ARGS)
    return {
        "service": "service",
        "name": f"{STACK}/service",
        "reference": f"{STACK}/service:{digest[:16]}",
        "input": digest,
        "context": str(context),
        "dockerfile": "Dockerfile",
        "args": ARGS,
        "base_args": ["BASE_TEST"],
    }


def build(image: dict[str, t.Any], platforms: list[str]) -> dict[str, t.Any]:
    context = Path(image["context"])
    archive = context.with_suffix(".tar")
    write_archive(context, read_context(image), archive)
    result = run_module(image_build.main, {"images": [{**image, "context": str(archive)}], "platforms": platforms})
    assert "images" in result, result
    return result


def make(platforms: list[str]) -> dict[str, t.Any]:
    result = run_module(image_base.main, {"bases": [BASE], "platforms": platforms})
    if "is being updated" in result.get("msg", ""):  # archives get their architectures one after the other
        pytest.skip(result["msg"].partition("\n")[0])
    assert "bases" in result, result
    return result


def run(image: str, *command: str) -> list[str]:
    return docker("run", "--rm", "--network=none", image, *command).split()


def platform_of(image: str) -> str:
    return Engine().inspect([image])[image].platform


MACHINES = [
    pytest.param(ARM64, "-arm64", "aarch64", id="arm64"),
    pytest.param(ARM_V7, "-arm-v7", "armv7l", id="arm/v7"),
]


@pytest.mark.parametrize(("platform", "suffix", "machine"), MACHINES)
def test_images_for_another_processor_run_and_are_not_built_again(
    own: str, image: dict[str, t.Any], platform: str, suffix: str, machine: str
) -> None:
    with emulated(platform):
        bases, images = make([own, platform]), build(image, [own, platform])
        foreign = f"{image['reference']}{suffix}"
        assert [one["reference"] for one in images["images"]] == [image["reference"], foreign]
        assert [platform_of(one["reference"]) for one in images["images"]] == [own, platform]
        assert run(foreign, "uname", "-m") == [machine]
        assert run(foreign, "cat", "/machine", "/built-on") == [machine, machine]
        assert run(image["reference"], "cat", "/machine", "/built-on") == [os.uname().machine] * 2
    # What is there needs no emulator.
    for key, first, second in (
        ("bases", bases, make([own, platform])),
        ("images", images, build(image, [own, platform])),
    ):
        assert [one["id"] for one in second[key]] == [one["id"] for one in first[key]]
        assert not second["changed"], second
        assert not any(one["skipped"] for one in second[key])


@pytest.mark.usefixtures("emulated")
def test_the_option_changes_nothing_for_the_engines_own_platform(own: str, image: dict[str, t.Any]) -> None:
    base, built = make([])["bases"][0], build(image, [])["images"][0]
    assert not [one for one in make([own, ARM64])["bases"] if one["built"] and one["platform"] == own]
    again = build(image, [own, ARM64])["images"][0]
    assert (again["reference"], again["id"], again["built"]) == (built["reference"], built["id"], False)
    docker("image", "rm", *ours())
    assert make([own])["bases"][0]["id"] == base["id"]
    assert build(image, [own])["images"][0]["id"] == built["id"]


@pytest.mark.usefixtures("emulated")
def test_a_base_for_another_processor_has_the_same_id_twice() -> None:
    first = make([ARM64])["bases"][0]
    docker("image", "rm", first["reference"])
    second = make([ARM64])["bases"][0]
    assert second["built"]
    assert second["id"] == first["id"]


@pytest.mark.usefixtures("emulated")
def test_an_image_for_another_processor_has_the_same_id_twice(image: dict[str, t.Any], tmp_path: Path) -> None:
    base = make([ARM64])["bases"][0]["reference"]
    clocks, settled = set(), set()
    for _time in range(2):
        argv = ["docker", "build", "--quiet", "--no-cache", f"--platform={ARM64}", f"--build-arg=BASE_TEST={base}"]
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        done = subprocess.run([*argv, image["context"]], env=environment, capture_output=True, text=True, check=True)
        clocks.add(done.stdout.strip())
        settled.add(settle_image(done.stdout.strip(), SOURCE_DATE_EPOCH, str(tmp_path)))
    try:
        assert (len(clocks), len(settled)) == (2, 1)
        (one,) = settled
        assert platform_of(one) == ARM64
    finally:
        docker("image", "rm", *clocks, *settled)


def play(folder: Path, image: dict[str, t.Any], platforms: list[str], *options: str) -> tuple[dict[str, t.Any], str]:
    """Make base and image by a playbook, as a user does; return what was registered and what the user read."""
    answer = folder / "answer.json"
    tasks = [
        {"emorobcare.fleet.image_base": {"bases": [BASE], "platforms": platforms}, "register": "bases"},
        {"emorobcare.fleet.image_build": {"images": [image], "platforms": platforms}, "register": "images"},
        {
            "ansible.builtin.copy": {
                "content": "{{ {'bases': bases, 'images': images} | to_json }}",
                "dest": str(answer),
            },
            "check_mode": False,
        },
    ]
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
    playbook = [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (folder / "playbook.yml").write_text(json.dumps(playbook), encoding="utf-8")
    (folder / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "COLUMNS": "10000",  # warnings are wrapped
    }
    argv = [str(ANSIBLE), "-i", "localhost,", *options, str(folder / "playbook.yml")]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(answer.read_text(encoding="utf-8")), done.stdout + done.stderr


@pytest.mark.parametrize("options", [["--check"], []], ids=["check mode", "for real"])
def test_without_an_emulator_a_platform_is_skipped_aloud_and_the_rest_is_made(
    own: str, image: dict[str, t.Any], tmp_path: Path, options: list[str]
) -> None:
    if not fault_of(ARM64):
        pytest.skip("this machine runs arm64 programs, so that nothing is skipped")
    told, said = play(tmp_path, image, [own, ARM64], *options)
    for native, foreign in (told["bases"]["bases"], told["images"]["images"]):
        assert (native["platform"], native["built"], native["skipped"]) == (own, True, False)
        assert (foreign["platform"], foreign["built"], foreign["skipped"]) == (ARM64, False, True)
        assert "its kernel knows no emulator for them" in foreign["reason"]
        assert "qemu-user-static and binfmt-support" in foreign["reason"]
        assert "qemu-user-binfmt" in foreign["reason"]
    assert "linux/arm64 is skipped, because this host cannot run its programs" in said
    made = [] if options else [REFERENCE, image["reference"]]
    assert sorted(ours()) == sorted(made)
    if made:
        second, said = play(tmp_path, image, [own, ARM64])
        assert not second["bases"]["changed"]
        assert not second["images"]["changed"]
        assert "linux/arm64 is skipped" in said
