# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules about containers against a real engine, the real Compose and a real playbook.

Every container is made of an image with a Python and nothing else. All that is made bears the label
org.emorobcare.fleet.test=<run>, and is removed again.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import textwrap
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_facts import (
    engine_of_info,
    facts_of_inspect,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_containers import (
    RULES,
    look_at_compose,
    look_at_container,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Looked
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_images import facts_of_image, look_at_image
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import parse_compose
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_render import rendered
from ansible_collections.emorobcare.fleet.tests.faults._releases import PYTHON, docker, free_port

ROOT = Path(__file__).resolve().parents[2]
STACKS = ROOT / "stacks"
RUN = f"fleet-test-{secrets.token_hex(4)}"
LABEL = f"org.emorobcare.fleet.test={RUN}"
IDLE = "import time\nwhile True: time.sleep(1)"
AS_SSHD = f"import os; os.execv({PYTHON!r}, ['sshd', '-S', '-c', {IDLE!r}])"

Options = dict[str, t.Optional[str]]

# `docker run` with no more rights than it must have; a change replaces an option, adds one (+) or takes one out (None).
HARD: Options = {
    "--user": "10001:10001",
    "--read-only": "",
    "--cap-drop": "ALL",
    "--security-opt": "no-new-privileges",
    "--restart": "on-failure:5",
    "--health-cmd": "true",
    "--memory": "64m",
    "--cpus": "0.5",
    "--pids-limit": "32",
    "--network": RUN,
}
# What the engine only keeps, because not every machine can start it: it has no GPU, or the outer one's rights or mounts
# do not allow it.
KEPT = {"--gpus", "privileged", "mount-propagation", "container-ulimits", "cgroup-parent"}
CASES: list[tuple[str, Options]] = [
    ("apparmor-profile", {"+--security-opt": "apparmor=unconfined"}),
    ("capabilities", {"--cap-add": "SYS_NICE"}),
    ("capabilities", {"--cap-drop": "NET_RAW"}),
    ("privileged", {"--privileged": ""}),
    ("host-paths", {"--volume": "/etc:/host/etc:ro"}),
    ("host-paths", {"--mount": "type=bind,source=/,target=/host,readonly"}),
    ("ssh-server", {"command": AS_SSHD}),
    ("privileged-ports", {"--publish": "127.0.0.1:{low}:8000"}),
    ("host-network", {"--network": "host"}),
    ("memory-limit", {"--memory": None}),
    ("cpu-limit", {"--cpus": None}),
    ("read-only-root", {"--read-only": None}),
    ("port-address", {"--publish": "{free}:8000"}),
    ("port-address", {"--publish": "8000"}),
    ("restart-limit", {"--restart": "unless-stopped"}),
    ("host-pid", {"--pid": "host"}),
    ("host-ipc", {"--ipc": "host"}),
    ("devices", {"--device": "/dev/full"}),
    ("devices", {"--device-cgroup-rule": "c 81:* rmw"}),
    ("devices", {"--gpus": "all"}),
    ("container-ulimits", {"--ulimit": "core=-1"}),
    ("mount-propagation", {"--volume": "/srv:/x:rshared"}),
    ("host-uts", {"--uts": "host"}),
    ("seccomp-profile", {"+--security-opt": "seccomp=unconfined"}),
    ("cgroup-parent", {"--cgroup-parent": "/fleet-test"}),
    ("new-privileges", {"--security-opt": None}),
    ("health-check", {"--health-cmd": None}),
    ("health-check", {"--health-cmd": None, "--no-healthcheck": ""}),
    ("image-version", {"image": "{latest}"}),
    ("pids-limit", {"--pids-limit": None}),
    ("pids-limit", {"--pids-limit": "-1"}),
    ("default-bridge", {"--network": "bridge"}),
    ("host-userns", {"--userns": "host"}),
    ("docker-socket-mounted", {"--volume": "/var/run/docker.sock:/var/run/docker.sock:ro"}),
    ("image-user", {"--user": "0"}),
    ("image-user", {"--user": None}),
]
NOT_HERE = {"apparmor-profile", "selinux-labels"}
"""What hangs on the kernel: where it lacks the one or the other, that is said, and is no pass."""


@pytest.fixture(name="network", scope="module", autouse=True)
def network_fixture(base: str) -> t.Iterator[None]:
    docker("network", "create", "--label", LABEL, RUN)
    docker("image", "tag", base, f"{RUN}:latest")
    try:
        yield
    finally:
        docker("image", "rm", f"{RUN}:latest")
        docker("network", "rm", RUN)


@pytest.fixture(name="containers", autouse=True)
def containers_fixture() -> t.Iterator[None]:
    try:
        yield
    finally:
        left = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split()
        if left:
            docker("rm", "--force", "--volumes", *left)


def low_port() -> int:
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip("no port below 1024 is free")


def argv(image: str, change: Options) -> list[str]:
    known = {"free": free_port(), "low": low_port(), "latest": f"{RUN}:latest"}
    options = {**HARD, **change}
    command = options.pop("command", IDLE)
    image = (options.pop("image", image) or "").format(**known)
    words = []
    for name, value in options.items():
        if value is not None:
            words += [name.lstrip("+"), *([value.format(**known)] if value else [])]
    return [*words, "--label", LABEL, image, PYTHON, "-S", "-c", command or ""]


def looked_at(image: str, change: Options, starts: bool = True) -> dict[str, Looked]:
    """Make a container with these options, and look at it as an audit does."""
    made = docker(*(("run", "--detach") if starts else ("create",)), *argv(image, change))
    (document,) = json.loads(docker("container", "inspect", made))
    engine = engine_of_info(json.loads(docker("info", "--format", "{{json .}}")))
    processes = docker("top", made, "-o", "pid,args").splitlines()[1:] if starts else None
    commands = None if processes is None else [line.strip().partition(" ")[2] for line in processes]
    return look_at_container(facts_of_inspect(document, engine, commands))


def violated(looked: t.Mapping[str, Looked]) -> list[str]:
    return [slug for slug, one in looked.items() if one.evidence]


def test_a_hardened_container_passes_all_that_can_pass(base: str) -> None:
    looked = looked_at(base, {"--publish": f"127.0.0.1:{free_port()}:8000"})
    assert violated(looked) == []
    untold = {slug for slug, one in looked.items() if one.not_applicable or one.unseen}
    assert {"needed-ports", "exec-privileged", "exec-root"} <= untold
    assert untold <= {"needed-ports", "exec-privileged", "exec-root", *NOT_HERE}
    assert all(one.seen for slug, one in looked.items() if slug not in untold)


@pytest.mark.parametrize(("slug", "change"), CASES, ids=lambda value: str(value)[:60])
def test_a_container_that_violates_one_rule_is_caught_by_that_rule_alone(base: str, slug: str, change: Options) -> None:
    assert violated(looked_at(base, change, starts=not KEPT & {slug, *change})) == [slug]


def test_every_rule_that_a_container_can_violate_here_is_violated_by_one() -> None:
    told_by_nobody = {"needed-ports", "exec-privileged", "exec-root"}
    assert {slug for slug, _change in CASES} == {rule.control.slug for rule in RULES} - {
        *told_by_nobody,
        "selinux-labels",
    }


SERVICE: dict[str, t.Any] = {
    "user": "10001",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "on-failure:5",
    "healthcheck": {"test": ["CMD", "true"]},
    "deploy": {"resources": {"limits": {"cpus": "0.5", "memory": "64M", "pids": 32}}},
    "labels": [LABEL],
}
SERVICES: dict[str, dict[str, t.Any]] = {
    "hard": {},
    "caps": {"cap_add": ["SYS_ADMIN"], "cap_drop": []},
    "privileged": {"privileged": True},
    "mounts": {"volumes": ["/etc:/x:ro", "disguise:/y", "/var/run/docker.sock:/s"]},
    "ports": {"ports": ["127.0.0.1:70:70", "7000", "0.0.0.0:7001:7001/udp"]},
    "host": {"network_mode": "host", "pid": "host", "ipc": "host", "uts": "host", "userns_mode": "host"},
    "bridge": {"network_mode": "bridge"},
    "unlimited": {"deploy": None},
    "old": {"deploy": None, "mem_limit": "64m", "pids_limit": 32, "cpus": 0.5},
    "open": {"security_opt": ["seccomp:unconfined", "label:disable"], "read_only": False, "user": "root"},
    "devices": {"devices": ["/dev/full:/dev/full"], "device_cgroup_rules": ["a *:* rwm"], "ulimits": {"core": -1}},
    "sick": {"healthcheck": {"disable": True}, "restart": "always", "cgroup_parent": "/fleet-test"},
    "shared": {"volumes": [{"type": "bind", "source": "/srv", "target": "/x", "bind": {"propagation": "rshared"}}]},
    "secret": {"secrets": ["shadow"]},
}


def test_a_document_and_the_container_that_compose_makes_of_it_violate_the_same(base: str, tmp_path: Path) -> None:
    services = {name: {**SERVICE, "image": base, "command": [PYTHON], **more} for name, more in SERVICES.items()}
    document = {
        "name": RUN,
        "services": services,
        "networks": {"default": {"labels": [LABEL]}},
        "volumes": {"disguise": {"driver_opts": {"type": "none", "o": "bind", "device": "/usr"}, "labels": [LABEL]}},
        "secrets": {"shadow": {"file": "/etc/shadow"}},
    }
    file = tmp_path / "compose.yml"
    file.write_text(json.dumps(document))
    compose = ("compose", "--file", str(file))
    try:
        docker(*compose, "create")
        found = json.loads(docker("inspect", *docker(*compose, "ps", "--all", "--quiet").split()))
        names = {mount["Name"] for one in found for mount in one["Mounts"] if mount["Type"] == "volume"}
        volumes = {one["Name"]: one["Options"] or {} for one in json.loads(docker("volume", "inspect", *names))}
        seen = {
            one["Config"]["Labels"]["com.docker.compose.service"]: look_at_container(
                facts_of_inspect(one, volumes=volumes)
            )
            for one in found
        }
        made = {name: violated(looked) for name, looked in seen.items()}
    finally:
        docker(*compose, "down", "--volumes")
    plain = {name: violated(looked) for name, looked in look_at_compose(document).items()}
    rendering = json.loads(docker(*compose, "config", "--format", "json"))
    assert plain == made
    assert {name: violated(looked) for name, looked in look_at_compose(rendering).items()} == made
    assert made["hard"] == made["old"] == []
    assert look_at_compose(document)["mounts"]["host-paths"].evidence == ("/etc:/x:ro", "/usr:/y")
    assert set(seen["mounts"]["host-paths"].evidence) == {"/etc:/x:ro", "/usr:/y"}


def same_as_compose(folder: Path, names: t.Sequence[str], values: t.Mapping[str, str], tmp_path: Path) -> None:
    """Hold our own rendering of Compose files against that of Compose, by everything that the rules see."""
    documents = [parse_compose(name, (folder / name).read_bytes()) for name in names]
    ours = rendered(documents, values)
    ours["services"] = {name: one for name, one in ours["services"].items() if not one.get("profiles")}
    settings = tmp_path / "settings.env"
    settings.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    files = [word for name in names for word in ("--file", str(folder / name))]
    # Far from every path that a rule knows, wherever the checkout is.
    where = ["--project-name", "fleet-test", "--project-directory", "/srv/fleet-test", "--env-file", str(settings)]
    theirs = json.loads(docker("compose", *files, *where, "config", "--format", "json", "--no-path-resolution"))
    assert sorted(ours["services"]) == sorted(theirs["services"])
    for name, looked in look_at_compose(theirs).items():
        mine = look_at_compose(ours)[name]
        assert {slug: one.evidence for slug, one in mine.items()} == {
            slug: one.evidence for slug, one in looked.items()
        }, name


@pytest.mark.parametrize(
    "overlay", sorted(STACKS.glob("*/compose*.yml")), ids=lambda file: f"{file.parent.name}/{file.name}"
)
def test_the_controller_sees_in_a_stack_what_compose_sees(overlay: Path, tmp_path: Path) -> None:
    names = ["compose.yml", *([overlay.name] if overlay.name != "compose.yml" else [])]
    values = {"BIND": "0.0.0.0", "PORT": "81", "GRAFANA_PORT": "3000", "FLEET_SECRETS": "/etc/fleet/secrets/x"}
    values |= dict.fromkeys(
        ["LOG_LEVEL", "FEEDS", "AUTH0_DOMAIN", "AUTH0_AUDIENCE", "ALLOWED_ORIGINS", "RATE_LIMIT"], "x"
    )
    same_as_compose(overlay.parent, names, values, tmp_path)


TRICKY = {
    "compose.yml": """\
        x-hard: &hard {image: "x:1", cap_drop: [ALL], read_only: true, healthcheck: {test: [CMD, x]}}
        services:
          web:
            <<: *hard
            ports: ["80:80"]
            volumes: ["/etc:/x", "data:/d", "${WHERE:-/srv}/a:/a"]
            security_opt: ["no-new-privileges:true"]
            deploy: {resources: {limits: {cpus: "1", memory: 64M, pids: 7}}}
          db: {<<: *hard, extends: web, privileged: true, cap_drop: [NET_RAW], command: [sshd, -D]}
          gone: {<<: *hard, pid: host}
          off: {<<: *hard, profiles: [debug], pid: host}
        volumes:
          data: {driver_opts: {type: none, o: bind, device: "${DEVICE}"}}
        """,
    "compose.over.yml": """\
        services:
          web:
            volumes: ["/srv/x:/x", {type: bind, source: /var/run/docker.sock, target: /s}]
            ports: !override ["127.0.0.1:8080:80"]
            security_opt: ["apparmor:unconfined"]
            deploy: {resources: {limits: {memory: 1G}}}
            healthcheck: {disable: true}
            ipc: ${IPC}
          db: {read_only: !reset null, privileged: !reset null, command: [x], devices: ["/dev/mem:/dev/mem"]}
          gone: !reset null
        """,
}


@pytest.mark.parametrize("names", [["compose.yml"], ["compose.yml", "compose.over.yml"]], ids=str)
def test_the_controller_merges_extends_and_fills_in_as_compose_does(names: list[str], tmp_path: Path) -> None:
    for name, text in TRICKY.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    same_as_compose(tmp_path, names, {"IPC": "host", "DEVICE": "/root"}, tmp_path)


def test_an_image_is_looked_at_as_the_engine_has_it(base: str) -> None:
    (document,) = json.loads(docker("image", "inspect", base))
    history = docker("image", "history", "--no-trunc", "--format", "{{.CreatedBy}}", base).splitlines()
    assert violated(look_at_image(facts_of_image(document, history))) == ["image-user", "image-health-check"]
    dockerfile = f"FROM {base}\nENV API_TOKEN=8a7df8s7dfab\nUSER 7\nHEALTHCHECK CMD x\n"
    docker("build", "--quiet", "--label", LABEL, "--tag", f"{RUN}:bad", "-", content=dockerfile.encode())
    try:
        (document,) = json.loads(docker("image", "inspect", f"{RUN}:bad"))
        history = docker("image", "history", "--no-trunc", "--format", "{{.CreatedBy}}", f"{RUN}:bad").splitlines()
        looked = look_at_image(facts_of_image(document, history))
        assert violated(looked) == ["image-secrets"]
        assert "8a7df8s7dfab" not in str(looked)
    finally:
        docker("image", "rm", f"{RUN}:bad")


PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: emorobcare.fleet.compose_deploy}
"""


def play(folder: Path, *words: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
    given = {
        "compose_deploy_stack": str(folder / "shop"),
        "compose_deploy_root": str(folder / "fleet"),
        "compose_deploy_secrets_root": str(folder / "secrets"),
        "compose_deploy_recovery": False,
        "ansible_python_interpreter": sys.executable,
        **variables,
    }
    (folder / "play.yml").write_text(PLAYBOOK)
    return subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "play.yml", "--extra-vars", json.dumps(given), *words],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "COLUMNS": "10000",  # warnings are wrapped
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(name="shop")
def shop_fixture(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    services = {
        "web": {**SERVICE, "image": "shop/web:7", "privileged": True, "read_only": "${SOFT}"},
        "db": {**SERVICE, "image": "shop/db:7", "volumes": ["/var/run/docker.sock:/s"]},
    }
    (tmp_path / "shop" / "compose.yml").write_text(json.dumps({"services": services}))
    (tmp_path / "shop" / "stack.yml").write_text(
        "name: shop\nparameters: {SOFT: {type: bool, default: true}}\n"
        "services: {web: {lifecycle: stateless}, db: {lifecycle: stateful}}\n"
    )
    return tmp_path


@pytest.mark.parametrize("words", [[], ["--check"]], ids=["for real", "check mode"])
def test_a_deployment_is_refused_with_every_finding_before_anything_is_touched(shop: Path, words: list[str]) -> None:
    done = play(shop, *words)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "2 problems:" in said
    for part in ("services.web.privileged", "CIS 5.5", "Take privileged out", "services.db.volumes", "CIS 5.32"):
        assert part in said
    assert not (shop / "fleet").exists()


def test_what_a_host_sets_for_a_parameter_counts(shop: Path) -> None:
    stack = shop / "shop" / "stack.yml"
    stack.write_text(stack.read_text() + "hardening: {rules: {read-only-root: {level: fail}}}\n")
    assert "services.web.read_only" not in play(shop, "--check").stdout
    assert "services.web.read_only" in play(shop, "--check", compose_deploy_parameters={"SOFT": False}).stdout


def test_a_stack_that_would_be_refused_can_still_be_taken_off(shop: Path) -> None:
    done = play(shop, "--check", compose_deploy_state="absent")
    assert done.returncode == 0, done.stdout + done.stderr
