# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What image_base and image_build do in a real engine, with a real Debian archive, when builds fail."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_debian import SOURCE_DATE_EPOCH
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_settle import settle_image
from ansible_collections.emorobcare.fleet.plugins.modules import image_base, image_build
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_context import read_context, write_archive
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_input import context_files, image_input
from ansible_collections.emorobcare.fleet.tests.faults._releases import docker, run_module

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
STACK = f"fleet-test-{uuid.uuid4().hex[:8]}"
INPUT_LABEL = "org.emorobcare.fleet.input"

# A megabyte of image with a shell for RUN lines, in place of the real bases, which take longer to make.
SHELL = {
    "suite": "trixie",
    "packages": ["busybox-static"],
    "remove": ["/usr/share", "/etc"],
    "directories": [{"path": "/tmp", "mode": "1777"}],
    "links": {
        f"/bin/{name}": "/usr/bin/busybox"
        for name in ("[", "cat", "cp", "find", "ls", "mkdir", "rm", "sh", "sha256sum", "wget")
    },
    "environment": {"PATH": "/bin:/usr/bin"},
}
NETBASE = {"suite": "trixie", "packages": ["netbase"]}
BAD = f"{STACK}/base-bad"


def ours() -> list[str]:
    """Every image of this test run with its reference, those without one included."""
    labels = [f"label=org.emorobcare.fleet.stack={STACK}", f"reference={STACK}/*"]
    form = "{{.ID}} {{.Repository}}:{{.Tag}}"
    listed = [docker("image", "ls", "--filter", label, "--format", form) for label in labels]
    return sorted({line for lines in listed for line in lines.splitlines()})


def base(recipe: dict[str, t.Any], name: str = "base-test") -> dict[str, t.Any]:
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return {"name": name, "reference": f"{STACK}/{name}:{digest[:16]}", "input": digest, "recipe": recipe}


@pytest.fixture(scope="module", autouse=True)
def _leave_no_images() -> t.Iterator[None]:
    yield
    references = [line.split()[1] for line in ours() if "<none>" not in line]
    if references:
        docker("image", "rm", *references)
    assert ours() == []


@pytest.fixture(name="shell", scope="module")
def shell_fixture() -> str:
    """Reference of a base with a shell, made by image_base."""
    result = run_module(image_base.main, {"bases": [base(SHELL)]})
    assert result.get("changed"), result
    return str(result["bases"][0]["reference"])


class Service:
    """A service's context, whose image is built by the module on this machine."""

    def __init__(self, folder: Path, name: str, shell: str) -> None:
        self.folder = folder
        self.name = name
        self.shell = shell
        self.context = folder / name
        self.context.mkdir()
        self.write("hello\n")

    def write(self, text: str, *steps: str, start: str = "FROM ${BASE_TEST_BUILD}") -> None:
        (self.context / "text").write_text(text, encoding="utf-8")
        lines = ["ARG BASE_TEST_BUILD", start, "COPY text /text", *steps]
        (self.context / "Dockerfile").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def image(self, **changes: t.Any) -> dict[str, t.Any]:
        args = {"BASE_TEST_BUILD": self.shell}
        digest = image_input(context_files(self.context, "Dockerfile"), "Dockerfile", args)
        return {
            "service": self.name,
            "name": f"{STACK}/{self.name}",
            "reference": f"{STACK}/{self.name}:{digest[:16]}",
            "input": digest,
            "context": str(self.context),
            "args": args,
            **changes,
        }

    def build(
        self, secrets: dict[str, str] | None = None, options: dict[str, t.Any] | None = None, **changes: t.Any
    ) -> dict[str, t.Any]:
        image = self.image(**changes)
        archive = self.folder / "context.tar"
        write_archive(self.context, read_context({**image, "dockerfile": "Dockerfile"}), archive)
        images = [{**image, "context": str(archive)}]
        return run_module(image_build.main, {"images": images, "secrets": secrets or {}, **(options or {})})

    def play(self, *options: str) -> dict[str, t.Any]:
        """Build as a user does, by a playbook."""
        answer = self.folder / "answer.json"
        tasks = [
            {"emorobcare.fleet.image_build": {"images": [self.image()]}, "register": "answer"},
            {"ansible.builtin.copy": {"content": "{{ answer | to_json }}", "dest": str(answer)}, "check_mode": False},
        ]
        variables = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
        play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}
        (self.folder / "playbook.yml").write_text(json.dumps([play]), encoding="utf-8")
        (self.folder / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
        }
        argv = [str(ANSIBLE), "-i", "localhost,", *options, str(self.folder / "playbook.yml")]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return t.cast("dict[str, t.Any]", json.loads(answer.read_text(encoding="utf-8")))


@pytest.fixture(name="service")
def service_fixture(tmp_path: Path, shell: str, request: pytest.FixtureRequest) -> Service:
    return Service(tmp_path, f"service-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}", shell)


def test_an_image_is_built_once_and_says_what_it_was_made_from(service: Service) -> None:
    foreseen = service.play("--check")
    assert foreseen["changed"], foreseen
    assert foreseen["images"][0]["reason"] == "missing"
    first = service.play()
    assert first["images"][0]["built"], first
    wanted = service.image()
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", wanted["reference"]))
    assert labels[INPUT_LABEL] == wanted["input"]
    assert labels["org.opencontainers.image.title"] == wanted["name"]
    before = ours()
    second = service.play()
    assert not second["changed"], second
    assert second["images"][0]["id"] == first["images"][0]["id"]
    assert ours() == before


def test_a_changed_file_gives_a_new_version_beside_the_old_one(service: Service) -> None:
    old = service.build()["images"][0]["reference"]
    service.write("other\n")
    result = service.build()
    assert (result["images"][0]["reason"], result["images"][0]["previous"]) == ("input changed", old)
    assert docker("image", "inspect", "--format", "{{index .RepoTags 0}}", old) == old


def test_a_label_of_ours_in_a_dockerfile_does_no_harm(service: Service) -> None:
    service.write("hello\n", f"LABEL {INPUT_LABEL}=x")
    assert service.build()["images"][0]["built"]
    assert not service.build()["changed"]


def test_a_secret_can_be_used_and_is_nowhere_in_the_image(service: Service, tmp_path: Path) -> None:
    canary = uuid.uuid4().hex
    secret = tmp_path / "token"
    secret.write_text(canary, encoding="ascii")
    digest = hashlib.sha256(canary.encode()).hexdigest()
    mount = "RUN --mount=type=secret,id=token,required=true"
    service.write("hello\n", f'{mount} [ "$(sha256sum /run/secrets/token)" = "{digest}  /run/secrets/token" ]')
    result = service.build(secrets={"token": str(secret)})
    assert result["changed"], result
    saved = subprocess.run(["docker", "save", result["images"][0]["reference"]], capture_output=True, check=True).stdout
    assert len(saved) > 1_000_000
    assert canary.encode() not in saved


def test_the_same_input_gives_the_same_image_twice(service: Service) -> None:
    """The builder's clock is in a folder and a file that a step makes, and in the folders that a copy makes."""
    steps = [
        "RUN mkdir -p /made/here && cat /text > /made/here/file",
        "FROM ${BASE_TEST_BUILD}",
        "COPY --from=0 /made /opt/made",
    ]
    service.write("hello\n", *steps)
    settled, clocks = set(), set()
    for _time in range(2):
        argv = [
            "docker",
            "build",
            "--quiet",
            "--no-cache",
            f"--build-arg=BASE_TEST_BUILD={service.shell}",
            str(service.context),
        ]
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
        clocks.add(done.stdout.strip())
        settled.add(settle_image(done.stdout.strip(), SOURCE_DATE_EPOCH, str(service.folder)))
    try:
        assert len(clocks) == 2
        assert len(settled) == 1
        (image,) = settled
        said = docker("run", "--rm", image, "cat", "/opt/made/here/file")
        assert said == "hello"
    finally:
        docker("image", "rm", *clocks, *settled)


def test_an_offline_build_has_no_network_and_says_what_it_misses(service: Service) -> None:
    service.write("hello\n", 'RUN [ "$(ls /sys/class/net)" = lo ]')
    assert service.build(options={"offline": True})["images"][0]["built"]
    service.write(
        "more\n", "RUN wget http://packages.invalid/wheel || { echo Temporary failure in name resolution; exit 1; }"
    )
    message = service.build(options={"offline": True})["msg"]
    assert "This build has no network, and the builder's cache lacks what the step wants" in message
    assert "cache_directory" in message


CACHED = "RUN --mount=type=cache,id=fleet-packages,target=/packages "


def test_packages_of_one_builder_serve_another_one_without_a_network(service: Service, tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "packages" / service.name
    fetched = f"mkdir -p /packages/{service.name}/wheels && cat /text >/packages/{service.name}/wheels/one.whl"
    emptied = f"{CACHED} rm -r /packages/{service.name}"
    run = uuid.uuid4().hex  # a step that was run before is not run again
    options = {"cache_directory": str(tmp_path / "cache")}
    try:
        service.write(f"{run}\n", f"{CACHED} {fetched}")
        result = service.build(options=options)
        assert result.get("changed"), result
        assert (kept / "wheels" / "one.whl").read_text() == f"{run}\n"
        service.write(f"{run} is gone\n", emptied)
        service.build()
        service.write(
            f"{run} is back\n", f"{CACHED} cat /packages/{service.name}/wheels/one.whl /packages/{service.name}/two"
        )
        (kept / "two").write_text("brought by hand\n")
        result = service.build(options={**options, "offline": True})
        assert result.get("changed"), result
        assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["packages"]
    finally:
        service.write(f"{run} is gone again\n", emptied)
        service.build()


def test_offline_no_base_is_made_from_an_archive_elsewhere() -> None:
    result = run_module(image_base.main, {"bases": [base(NETBASE, "base-offline")], "offline": True})
    assert re.search(r"base-offline:\w+ must be made, and offline is set, .*copy:/media/debian", result["msg"])


FAULTS = [
    pytest.param(["RUNN true"], {}, r"unknown instruction: RUNN", id="a Dockerfile that cannot be read"),
    pytest.param(["COPY nope /nope"], {}, r"COPY nope /nope failed: .*not found", id="a file that the context lacks"),
    pytest.param(
        ["RUN echo the reason; exit 7"],
        {},
        r"RUN echo the reason; exit 7 failed: .*exit code: 7.*\n  the reason$",
        id="a step that fails",
    ),
    pytest.param(
        ["RUN cat /text >/dev/full"],
        {},
        r"The engine's disk is full: free some space and build again.*No space left on device",
        id="a full disk",
    ),
    pytest.param(
        [], {"max_size": 1000}, r"is too large: .*max_size is 1000 B.*COPY text /text", id="an image too large"
    ),
    pytest.param(
        ["RUN --mount=type=secret,id=ca,required=true cat /run/secrets/ca"],
        {},
        r"Name that secret and its file on the host in secrets",
        id="a secret that was not given",
    ),
    pytest.param(
        [],
        {"secrets": {"ca": "/nonexistent/ca"}},
        r"secrets\.ca: the host has no file /nonexistent/ca",
        id="a secret that the host lacks",
    ),
]


@pytest.mark.parametrize(("steps", "changes", "message"), FAULTS)
def test_a_fault_is_named_what_was_there_stays_and_without_it_the_build_succeeds(
    service: Service, steps: list[str], changes: dict[str, t.Any], message: str
) -> None:
    good = service.build()["images"][0]["reference"]
    before = ours()
    service.write("new\n", *steps)
    result = service.build(**changes)
    assert re.search(message, result["msg"], re.DOTALL), result["msg"]
    assert ours() == before
    service.write("new\n")
    repaired = service.build()
    assert repaired["images"][0]["built"], repaired
    assert repaired["images"][0]["previous"] == good


def test_a_base_that_is_nowhere_is_named_with_the_way_out(service: Service) -> None:
    service.write("hello\n", start="FROM registry.invalid/nope:1")
    message = service.build()["msg"]
    assert "registry.invalid/nope:1" in message
    assert "That base image is not on this host and no registry gave it" in message


def test_the_same_recipe_gives_the_same_image_twice() -> None:
    one = base(NETBASE, "base-one")
    made = run_module(image_base.main, {"bases": [one]})["bases"][0]
    docker("image", "rm", one["reference"])
    again = run_module(image_base.main, {"bases": [one]})["bases"][0]
    assert again["built"]
    assert again["id"] == made["id"]


BASE_FAULTS = [
    pytest.param({"packages": ["no-such-package-0"]}, "has no package no-such-package-0", id="an unknown package"),
    pytest.param(
        {"rename": {"/usr/bin/nope": "/usr/bin/x"}}, "have no file /usr/bin/nope", id="a recipe that does not fit"
    ),
]


@pytest.mark.parametrize(("changes", "message"), BASE_FAULTS)
def test_a_base_that_cannot_be_made_leaves_nothing(tmp_path: Path, changes: dict[str, t.Any], message: str) -> None:
    recipe = {**NETBASE, **changes}
    result = run_module(image_base.main, {"bases": [base(recipe, "base-bad")], "work_directory": str(tmp_path)})
    assert message in result["msg"]
    assert docker("image", "ls", "--all", "--quiet", "--filter", f"label=org.opencontainers.image.title={BAD}") == ""
    assert list(tmp_path.glob("fleet-base-*")) == []
