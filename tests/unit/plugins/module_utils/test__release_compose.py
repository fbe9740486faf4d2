# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import (
    Places,
    Port,
    Project,
    host_override,
    models_in_use,
    mounts_from,
    parse_hashes,
    parse_project,
    secrets_in_use,
    warnings,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import Model, ModelFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

PLACES = Places("/f/stacks/shop/releases/r1", "/f/models", "/etc/s/shop")
MODELS = (Model("tiny", "1", {"weights": ModelFile("0" * 64, 3)}), Model("big", "2", {}))


def project(**services: t.Any) -> Project:
    secrets = {"pw": {"file": "/etc/s/shop/db_key"}, "own": {"file": "/srv/own"}, "ext": {"external": True}}
    return parse_project({"services": services, "secrets": secrets})


def bind(source: str, target: str = "/m") -> dict[str, t.Any]:
    return {"type": "bind", "source": source, "target": target, "read_only": True}


def test_the_resolved_services_are_read() -> None:
    found = project(
        web={
            "image": "shop/web:1",
            "deploy": {"replicas": 2},
            "ports": [
                {"host_ip": "127.0.0.1", "published": "8080", "target": 80, "protocol": "tcp"},
                {"published": "53", "target": 53, "protocol": "udp"},
                {"target": 81, "protocol": "tcp"},
                {"published": "9000-9010", "target": 82, "protocol": "tcp"},
            ],
            "volumes": [bind("/a$$b"), {"type": "volume", "source": "data", "target": "/data"}],
            "secrets": [{"source": "pw", "target": "/run/secrets/pw"}],
        },
        off={"image": "x", "scale": 0},
    )
    off, web = found.services
    assert (off.replicas, web.replicas) == (0, 2)
    assert web.ports == (Port("web", "127.0.0.1", 8080, "tcp"), Port("web", "", 53, "udp"))
    assert [mount.source for mount in web.mounts] == ["/a$b"]
    assert web.secrets == ("pw",)
    assert found.running == {"web"}


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (Port("w", "127.0.0.1", 80, "tcp"), "127.0.0.1:80/tcp"),
        (Port("w", "", 53, "udp"), "0.0.0.0:53/udp"),
        (Port("w", "::1", 80, "tcp"), "[::1]:80/tcp"),
    ],
)
def test_a_port_is_shown_with_its_address(port: Port, text: str) -> None:
    assert str(port) == text


def test_hashes_and_warnings_are_read() -> None:
    assert parse_hashes("web abc\nload def\n\n") == {"web": "abc", "load": "def"}
    said = 'time="x" level=warning msg="The \\"X\\" variable is not set."\n'
    assert warnings(f"{said}{said}other\n") == ['The "X" variable is not set.']


def test_models_and_secrets_are_mounted_by_what_they_are_and_not_by_where_the_release_is() -> None:
    found = project(
        web={"volumes": [bind(f"{PLACES.release}/models/tiny"), bind("/srv/x")], "secrets": [{"source": "pw"}]},
        part={"volumes": [bind(f"{PLACES.release}/models/big/sub/file", "/$x")]},
        plain={"volumes": [bind(f"{PLACES.release}/conf")], "secrets": [{"source": "own"}]},
    )
    assert host_override(found, PLACES, MODELS, {"db_key": "/etc/s/shop/.mounted/db_key.v1"}) == {
        "services": {
            "web": {
                "labels": {"org.emorobcare.fleet.secrets": "db_key.v1"},
                "volumes": [
                    {
                        "type": "bind",
                        "source": "/f/models/tiny/1",
                        "target": "/m",
                        "read_only": True,
                        "bind": {"create_host_path": False},
                    }
                ],
            },
            "part": {
                "volumes": [
                    {
                        "type": "bind",
                        "source": "/f/models/big/2/sub/file",
                        "target": "/$$x",
                        "read_only": True,
                        "bind": {"create_host_path": False},
                    }
                ]
            },
        },
        "secrets": {"pw": {"file": "/etc/s/shop/.mounted/db_key.v1"}},
    }
    assert models_in_use(found, PLACES, MODELS) == {"web": ["tiny/1"], "part": ["big/2"], "plain": []}
    assert mounts_from(found, PLACES.release) == {"web", "part", "plain"}
    assert mounts_from(found, f"{PLACES.release}/conf") == {"plain"}


def test_where_nothing_is_the_hosts_own_nothing_is_added() -> None:
    assert host_override(project(web={}), PLACES, (), {}) == {}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("models", r"mounts \./models as a whole; mount \./models/<name> of: big, tiny"),
        ("models/other", r"mounts \./models/other, a model that stack.yml does not pin"),
    ],
)
def test_what_is_no_model_of_the_release_cannot_be_mounted_as_one(source: str, message: str) -> None:
    with pytest.raises(ReleaseError, match=message) as caught:
        models_in_use(project(web={"volumes": [bind(f"{PLACES.release}/{source}")]}), PLACES, MODELS)
    assert caught.value.reason == "release_invalid"


def test_the_users_of_each_secret_are_known_and_an_undeclared_one_is_refused() -> None:
    found = project(a={"secrets": [{"source": "pw"}, {"source": "ext"}]}, b={"secrets": [{"source": "pw"}]}, c={})
    assert secrets_in_use(found, PLACES, ["db_key"]) == {"db_key": ["a", "b"]}
    with pytest.raises(ReleaseError, match=r"service a mounts the secret .*db_key.*, which"):
        secrets_in_use(found, PLACES, [])
