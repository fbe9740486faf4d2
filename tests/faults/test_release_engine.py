# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine that is restarted while a release comes up, on a lab host of its own."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import typing as t
from pathlib import Path

import ansible
import pytest

from ansible_collections.emorobcare.fleet.tests.bench.images_machine import Machine
from ansible_collections.emorobcare.fleet.tests.faults._faults import Record, next_run
from ansible_collections.emorobcare.fleet.tests.faults._releases import RUN_MODULE, Result, docker, wait_for
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides
from ansible_collections.emorobcare.fleet.tests.faults.test_bases import make

ROOT = Path(__file__).resolve().parents[2]
NAME = "emorobcare-fleet-lab-faults-fresh"
PACKAGES = "docker.io docker-cli docker-compose python3-jmespath"
ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/data', timeout=10).read().decode())"


def code() -> bytes:
    """What the module needs of Ansible and of this collection, as a tar."""
    package, plugins = Path(ansible.__file__).parent, ROOT / "plugins"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("ansible/__init__.py"))  # as in what Ansible sends to hosts
        tar.add(package / "module_utils", "ansible/module_utils")
        for folder in ("module_utils", "modules"):
            tar.add(plugins / folder, f"ansible_collections/emorobcare/fleet/plugins/{folder}")
    return buffer.getvalue()


class Host(Sides):
    """A stack with sides on a lab host with an engine of its own."""

    def inside(self, *argv: str, content: bytes | None = None) -> str:
        return docker("exec", "-i", NAME, *argv, content=content)

    def begin(self, options: dict[str, t.Any]) -> subprocess.Popen[bytes]:
        """Run the module there."""
        argv = ["docker", "exec", "-i", "--env", "PYTHONPATH=/opt/fleet", NAME, "python3", "-c", RUN_MODULE]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(json.dumps(self.arguments(options)).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def end(self, process: subprocess.Popen[bytes]) -> Result:
        return t.cast(Result, json.loads(process.communicate()[0]))

    def run(self, options: dict[str, t.Any]) -> Result:
        return self.end(self.begin(options))

    def journal(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(self.inside("cat", str(self.base / "state.json"))))

    def ask(self, path: str = "/data") -> t.Any:
        return json.loads(self.inside("python3", "-c", ASK.format(port=self.port)))

    def answers(self) -> bool:
        argv = ["docker", "exec", NAME, "python3", "-c", ASK.format(port=self.port)]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def names(self) -> set[str]:
        """The containers that run, without the stack's own name."""
        lines = self.inside("docker", "ps", "--format", "{{.Names}}").split()
        return {name.removeprefix(f"{self.stack}-") for name in lines}


@pytest.fixture(name="host", scope="module")
def host_fixture(tmp_path_factory: pytest.TempPathFactory, base: str) -> t.Iterator[Host]:
    ingress = make("base-haproxy")
    with Machine(ROOT, "faults", tmp_path_factory.mktemp("lab")):
        host = Host(Path("/srv/fleet-test"), base, ingress=ingress, port=8080)
        host.inside("sh", "-c", f"apt-get -qq update && apt-get -qqy install --no-install-recommends {PACKAGES}")
        images = subprocess.run(["docker", "save", base, ingress], check=True, capture_output=True).stdout
        host.inside("docker", "load", "--quiet", content=images)
        host.inside("sh", "-c", "mkdir -p /opt/fleet && tar -xC /opt/fleet", content=code())
        yield host


@pytest.mark.parametrize(
    ("step", "rollout"),
    [pytest.param("gate", {"success_threshold": 15}, marks=pytest.mark.slow), ("soak", {"soak": 10})],
)
def test_an_engine_that_is_restarted_leaves_one_release_and_the_next_run_finishes(
    host: Host, record: Record, step: str, rollout: dict[str, t.Any]
) -> None:
    """With systemd's socket the command line waits for the engine, so that the run may well go on."""
    old = host.sided("old")
    host.deploy(old)
    new = host.sided("new", timeout=60.0, rollout=rollout)
    process = host.begin(new)
    wait_for(lambda: bool(host.journal()["phase"] == step))
    host.inside("systemctl", "restart", "docker")
    result = host.end(process)
    print(json.dumps(result, indent=1))
    failed = bool(result.get("failed"))
    assert process.returncode == failed
    assert host.journal()["committed"]["release"] == (old if failed else new)["id"]
    wait_for(host.answers)
    serves = host.serving()
    assert failed or serves == "new"
    again = host.deploy(new)
    assert host.serving() == "new"
    colour = host.journal()["committed"]["colour"]
    assert (host.journal()["phase"], host.names()) == ("idle", {f"{colour}-api-1", "data-db-1", "ingress-ingress-1"})
    assert not host.deploy(new)["changed"]
    reason = result["reason"] if failed else "none"
    record.row(f"the engine is restarted at {step}", reason, serves, next_run(again, "new"))
