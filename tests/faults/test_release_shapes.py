# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stacks of other shapes: with sides and then without, with TLS, TCP and ports of the host, without a stack.yml."""

from __future__ import annotations

import json
import socket
import ssl
import typing as t
import urllib.request
from pathlib import Path

from ansible_collections.emorobcare.fleet.plugins.module_utils._authority import ensure_authority, ensure_certificate
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack import load_stack
from ansible_collections.emorobcare.fleet.tests.faults._faults import door, ids, whole
from ansible_collections.emorobcare.fleet.tests.faults._releases import Lab, docker, free_port, server
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides


def recreated(sides: Sides, text: str) -> dict[str, t.Any]:
    """The same stack without sides."""
    rollout = {"success_threshold": 2, "gate_timeout": 20, "strategy": "recreate"}
    api = {"api": {"ports": [f"127.0.0.1:{sides.port}:8000"]}}
    return sides.sided(text, database="another", services=api, ingress=None, rollout=rollout)


def test_a_stack_gets_sides_and_loses_them_and_keeps_its_data(sides: Sides) -> None:
    sides.deploy(sides.sided("sided"))
    predicted = sides.deploy(recreated(sides, "whole"), _ansible_check_mode=True)
    assert predicted["gap"]["services"] == ["api", "db"]
    sides.deploy(recreated(sides, "whole"))
    assert set(ids(sides)) == {"/api", "/db"}
    assert sides.ask() == {"text": "whole", "mode": "good", "kept": "first"}
    assert not sides.deploy(recreated(sides, "whole"))["changed"]

    bad = sides.refused(sides.sided("bad", "dies", database="other"), "gate_failed")
    assert bad["rolled_back_to"] == sides.journal()["committed"]["release"]
    assert set(ids(sides)) == {"/api", "/db"}
    assert sides.serving() == "whole"

    sides.deploy(sides.sided("again", database="other"))
    whole(sides, "again")
    assert sides.deploy({"stack": sides.stack, "state": "rolled_back"})["changed"]
    assert set(ids(sides)) == {"/api", "/db"}
    assert (sides.ask()["text"], sides.ask()["kept"]) == ("whole", "first")


def test_a_stateful_service_publishes_its_port_itself_and_one_that_left_is_removed(old: Sides) -> None:
    port = free_port()

    def with_cache(text: str) -> dict[str, t.Any]:
        cache = {**server(old.image), "ports": [f"127.0.0.1:{port}:8000"], "networks": ["inner"]}
        return old.sided(text, services={"cache": cache}, more={"cache": {"lifecycle": "stateful"}})

    old.deploy(with_cache("one"))
    cache = old.running()["-data/cache"]["Id"]
    old.deploy(with_cache("two"))
    assert old.running()["-data/cache"]["Id"] == cache
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        assert json.loads(answer.read())["mode"] == "good"
    result = old.deploy(old.sided("new"))
    assert ("cache", "remove") in [(step["service"], step["action"]) for step in result["plan"]]
    whole(old, "new")
    assert not old.deploy(old.sided("new"))["changed"]


def test_a_port_of_data_that_somebody_else_holds_is_refused(old: Sides) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        ports = {"db": {"ports": [f"127.0.0.1:{holder.getsockname()[1]}:8000"]}}
        before = ids(old)
        result = old.refused(old.sided("new", services=ports), "port_taken")
    assert "which service db publishes" in result["msg"]
    assert ids(old) == before
    whole(old, "old")


def secure(port: int, authority: Path, name: str = "127.0.0.1") -> str:
    """What is answered over TLS to who trusts that authority alone."""
    context = ssl.create_default_context(cafile=str(authority / "authority.pem"))
    with urllib.request.urlopen(f"https://{name}:{port}/data", timeout=10, context=context) as answer:
        return str(json.loads(answer.read())["text"])


def test_the_ingress_shows_the_certificate_that_it_was_given_also_when_that_changes(old: Sides, tmp_path: Path) -> None:
    https = free_port()
    sections = {"https": f"127.0.0.1:{https}", "tls": {"certificate": "cert", "authority": None}}

    def options(text: str) -> dict[str, t.Any]:
        return old.sided(text, ingress=door(old, **sections), secrets={"cert": {}})

    old.refused(options("one"), "secret_missing")
    whole(old, "old")
    for number, text in enumerate(("one", "two")):
        authority = tmp_path / str(number)
        pem = ensure_own(authority)
        old.deploy(options(text), secrets={"cert": pem})
        assert secure(https, authority) == text
    assert not old.deploy(options("two"))["changed"]


def ensure_own(authority: Path) -> str:
    """A certificate for 127.0.0.1 of an authority of its own."""
    authority.mkdir()
    ensure_authority(str(authority))
    return ensure_certificate(str(authority), "own", ["127.0.0.1"]).pem.decode()


def test_the_fleets_own_authority_vouches_for_the_ingress(old: Sides) -> None:
    https = free_port()
    sections = {"https": f"127.0.0.1:{https}", "tls": {"certificate": None, "authority": "fleet"}}
    ingress = door(old, **sections)
    ingress["routes"] = [*ingress["routes"], {**ingress["routes"][0], "host": "localhost"}]
    old.deploy(old.sided("new", ingress=ingress))
    assert secure(https, old.root / "fleet" / "authority", "localhost") == "new"
    whole(old, "new")


def test_plain_connections_are_led_to_the_side_that_serves(old: Sides) -> None:
    port = free_port()
    ingress = door(old)
    ingress["routes"] = [*ingress["routes"], {**ingress["routes"][0], "path": None, "tcp": f"127.0.0.1:{port}"}]
    for text in ("one", "two"):
        old.deploy(old.sided(text, ingress=ingress))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/data", timeout=10) as answer:
            assert json.loads(answer.read())["text"] == text
    whole(old, "two")


COMPOSE = """\
services:
  web:
    image: {image}
    command: {command}
    stop_signal: SIGKILL
    environment: {{TEXT: {text}}}
    ports: ["127.0.0.1:{port}:8000"]
    volumes: ["./words.txt:/words.txt:ro", "data:/data"]
    healthcheck: {{test: [CMD, {python}, -S, -c, "{probe}"], interval: 500ms, retries: 2}}
volumes: {{data: }}
"""


def test_a_folder_with_a_compose_file_alone_is_deployed_gated_and_rolled_back(lab: Lab, tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / lab.stack
    folder.mkdir()
    (folder / "words.txt").write_text("hello\n")
    web = server(lab.image)

    def release(text: str, probe: str = "pass") -> dict[str, t.Any]:
        python = json.dumps(web["command"][0])
        content = COMPOSE.format(
            image=lab.image, command=json.dumps(web["command"]), text=text, port=port, python=python, probe=probe
        )
        (folder / "compose.yml").write_text(content)
        made = load_stack(folder, None, "debian", folder)["release"]
        return {"release": made["document"], "id": made["id"], "files": made["files"]}

    def says() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return str(json.loads(answer.read())["text"])

    old = release("old")
    assert lab.deploy(old)["changed"]
    assert not lab.deploy(old)["changed"]
    assert (
        docker("exec", lab.ids()["web"], web["command"][0], "-S", "-c", "print(open('/words.txt').read())") == "hello"
    )
    assert lab.deploy(release("new"))["changed"]
    assert says() == "new"
    sick = release("sick", "raise SystemExit('no pulse')")
    sick["release"]["rollout"]["gate_timeout"] = 3.0
    result = lab.refused({**sick, "id": None}, "gate_timeout")
    assert "no pulse" in result["answer"]
    assert says() == "new"
    assert lab.deploy({"stack": lab.stack, "state": "rolled_back"})["changed"]
    assert says() == "old"
    assert not lab.deploy(old)["changed"]
