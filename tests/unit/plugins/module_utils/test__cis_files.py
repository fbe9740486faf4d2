# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import FileFact, Found, Listing
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_files import FILE_CONTROLS, look_at_files, paths_of
from ansible_collections.emorobcare.fleet.tests.unit.plugins._found import (
    CERTIFICATE,
    SOCKET_UNIT,
    UNIT,
    good,
    good_files,
    with_engine,
    with_host,
    with_options,
)

# Path, most permissions, and permissions beyond them.
CASES = {
    "docker-service": (UNIT, 0o644, 0o664),
    "docker-socket": (SOCKET_UNIT, 0o644, 0o646),
    "etc-docker": ("/etc/docker", 0o755, 0o775),
    "registry-certificates": (CERTIFICATE, 0o444, 0o644),
    "tls-authority": ("/root/.docker/ca.pem", 0o444, 0o464),
    "tls-certificate": ("/root/.docker/cert.pem", 0o444, 0o446),
    "tls-key": ("/root/.docker/key.pem", 0o400, 0o440),
    "engine-socket": ("/run/docker.sock", 0o660, 0o666),
    "daemon-json": ("/etc/docker/daemon.json", 0o644, 0o645),
    "etc-default-docker": ("/etc/default/docker", 0o644, 0o744),
    "etc-sysconfig-docker": ("/etc/sysconfig/docker", 0o644, 0o654),
    "containerd-socket": ("/run/containerd/containerd.sock", 0o660, 0o662),
}


def changed(path: str, **values: object) -> Found:
    files = good_files()
    return with_host(files={**files, path: replace(files[path], **values)})  # type: ignore[arg-type]


@pytest.mark.parametrize("control", FILE_CONTROLS, ids=lambda control: control.slug)
def test_on_a_good_host_every_rule_passes_and_names_its_files(control: Control) -> None:
    looked = look_at_files(good())[control.slug]
    assert CASES[control.slug.rpartition("-")[0]][0] in looked.seen
    assert looked == Looked(seen=looked.seen)


@pytest.mark.parametrize("slug", CASES)
def test_more_permissions_than_allowed_are_told_and_less_are_fine(slug: str) -> None:
    path, most, beyond = CASES[slug]
    looked = look_at_files(changed(path, mode=beyond))
    assert looked[f"{slug}-mode"].evidence == (f"{path} ({beyond:04o}, at most {most:04o})",)
    assert {name for name, one in looked.items() if one.evidence} == {f"{slug}-mode"}
    assert look_at_files(changed(path, mode=0))[f"{slug}-mode"].seen


@pytest.mark.parametrize(
    ("slug", "mode"),
    [
        ("etc-docker", "go-w"),
        ("registry-certificates", "a-wx"),
        ("tls-key", "u-wx,go-rwx"),
        ("daemon-json", "u-x,go-wx"),
        ("engine-socket", "ug-x,o-rwx"),
    ],
)
def test_the_way_out_of_a_mode_takes_away_and_gives_nobody_a_key(slug: str, mode: str) -> None:
    control = next(one for one in FILE_CONTROLS if one.slug == f"{slug}-mode")
    assert control.way_out == f"Have docker_host_files do it, or run chmod {mode} on what is named"


@pytest.mark.parametrize("slug", CASES)
@pytest.mark.parametrize("part", ["owner", "group"])
def test_another_owner_or_group_is_told(slug: str, part: str) -> None:
    path = CASES[slug][0]
    looked = look_at_files(changed(path, **{part: "guest"}))
    assert {name for name, one in looked.items() if one.evidence} == {f"{slug}-owner"}
    assert "guest" in looked[f"{slug}-owner"].evidence[0]


@pytest.mark.parametrize("slug", CASES)
def test_a_file_that_cannot_be_looked_at_is_not_known(slug: str) -> None:
    path = CASES[slug][0]
    looked = look_at_files(changed(path, kind="other", problem=f"{path}: Permission denied"))
    assert {name for name, one in looked.items() if one.unknown} == {f"{slug}-owner", f"{slug}-mode"}


@pytest.mark.parametrize("slug", CASES)
def test_a_file_that_is_not_there_does_not_apply(slug: str) -> None:
    path = CASES[slug][0]
    looked = look_at_files(with_host(files={**good_files(), path: FileFact(path)}))
    assert looked[f"{slug}-mode"].not_applicable.startswith("not on this host: ")


def test_what_is_dropped_in_beside_a_unit_counts_as_part_of_it() -> None:
    path = "/etc/systemd/system/docker.service.d/proxy.conf"
    files = {**good_files(), path: FileFact(path, "file", 0o666, "root", "root", path)}
    looked = look_at_files(with_host(files=files, service_units=Listing((UNIT, path))))
    assert looked["docker-service-mode"].evidence == (f"{path} (0666, at most 0644)",)


def test_the_engine_may_have_another_group() -> None:
    found = changed("/run/docker.sock", group="operators")
    assert look_at_files(found)["engine-socket-owner"].evidence
    engine = replace(found.engine, options={**found.engine.options, "hosts": [], "group": "operators"})
    assert look_at_files(Found(found.host, engine))["engine-socket-owner"].seen


def test_the_group_of_a_socket_that_systemd_opens_is_that_of_its_unit() -> None:
    assert look_at_files(with_options(group="robots"))["engine-socket-owner"].seen
    found = changed("/run/docker.sock", group="operators")
    host = replace(found.host, socket_group="operators")
    assert look_at_files(Found(host, found.engine))["engine-socket-owner"].seen


def test_keys_are_looked_for_where_the_engine_has_them() -> None:
    found = with_options(tlskey="/srv/key.pem")
    assert "/srv/key.pem" in paths_of(found)
    assert "/root/.docker/cert.pem" in paths_of(found)
    plain = with_options(tlsverify=None)
    assert "/root/.docker/cert.pem" not in paths_of(plain)
    assert look_at_files(plain)["tls-key-mode"] == Looked(not_applicable="not on this host")


def test_keys_and_sockets_of_an_engine_whose_options_are_not_known_are_not_known() -> None:
    looked = look_at_files(with_engine(options_problem="no process"))
    assert {name for name, one in looked.items() if one.unknown == "no process"} == {
        f"{which}-{what}"
        for which in ("tls-authority", "tls-certificate", "tls-key", "engine-socket")
        for what in ("owner", "mode")
    }


@pytest.mark.parametrize(
    "host",
    [
        {"socket_units": Listing((), "no right")},
        {"socket_paths": Listing((), "no right")},
    ],
    ids=["units", "paths"],
)
def test_sockets_of_a_unit_that_cannot_be_read_are_not_known(host: dict[str, Listing]) -> None:
    assert look_at_files(with_host(**host))["engine-socket-mode"].unknown == "no right"


def test_another_socket_of_the_engine_is_looked_at_too() -> None:
    assert "/run/other.sock" in paths_of(with_options(hosts=["unix:///var/run/other.sock", "fd://"]))
    assert "/run/third.sock" in paths_of(with_host(socket_paths=Listing(("/run/third.sock",))))
