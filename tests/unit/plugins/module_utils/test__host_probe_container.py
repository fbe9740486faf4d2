# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
import tarfile
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_container import (
    Asked,
    System,
    create_argv,
    published,
    read_asked,
    removal_argvs,
    tar_of,
)

MERGED = System("/usr/bin/python3.13", {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64"})
NOTHING = {"dns": "", "outbound": "", "timeout": 10.0}
SPLIT = System("/usr/bin/python3.9", {"bin": "", "lib": "", "lib64": "/lib"}, cache=False)


def test_the_image_is_folders_and_the_links_of_a_merged_usr() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(MERGED))) as tar:
        links = {member.name: member.linkname for member in tar if member.issym()}
        files = [member.name for member in tar if member.isreg()]
    assert links == dict(MERGED.links)
    assert files == ["etc/nsswitch.conf"]


def test_where_usr_is_not_merged_the_folders_are_mounted() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(SPLIT))) as tar:
        assert tar.getmember("bin").isdir()
        assert tar.getmember("lib64").linkname == "/lib"
    argv = create_argv("fleet-probe-x", SPLIT, "/work", "source", "{}")
    mounts = [word for word in argv if word.startswith("type=bind") and "readonly" in word]
    assert [mount.split(",")[1] for mount in mounts] == ["source=/usr", "source=/bin", "source=/lib"]


def test_all_that_is_made_is_removed_by_its_name() -> None:
    argv = create_argv("fleet-probe-x", MERGED, "/work", "source", Asked("example.com").order("token"))
    assert argv[-6:-1] == ["/usr/bin/python3.13", "-I", "-S", "-c", "source"]
    assert json.loads(argv[-1]) == {"dns": "example.com", "outbound": "", "timeout": 10.0, "token": "token"}
    assert {words[1] for words in removal_argvs("fleet-probe-x")} == {"container", "network", "volume", "image"}
    assert all(words[-1].startswith("fleet-probe-x") for words in removal_argvs("fleet-probe-x"))


@pytest.mark.parametrize(
    ("printed", "port"),
    [("0.0.0.0:32768\n[::]:32769\n", 32768), ("[::]:32769\n", None), ("", None), ("0.0.0.0:x", None)],
)
def test_the_port_is_that_of_ipv4(printed: str, port: int | None) -> None:
    assert published(printed) == port


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"outbound": "example.com"}, "outbound: 'example.com' is no host:port"),
        ({"outbound": ":443"}, "outbound: ':443'"),
        ({"outbound": "example.com:0"}, "outbound: 'example.com:0'"),
        ({"timeout": 0}, "timeout: 0 is no number"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: dict[str, t.Any], message: str) -> None:
    with pytest.raises(HostError) as caught:
        read_asked({**NOTHING, **asked})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("outbound", ["", "example.com:443", "[2001:db8::1]:80", "192.0.2.1:65535"])
def test_what_can_be_asked_is_taken(outbound: str) -> None:
    assert read_asked({**NOTHING, "outbound": outbound}).outbound == outbound
