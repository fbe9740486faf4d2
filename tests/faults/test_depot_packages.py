# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""depot_packages with real apt: on Debian's own archive, and on one of ours that is cut, changed or unsigned."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import digests_below
from ansible_collections.emorobcare.fleet.plugins.modules import depot_packages
from ansible_collections.emorobcare.fleet.tests.faults._answers import Answer
from ansible_collections.emorobcare.fleet.tests.faults._debian import LIBRARY, PROGRAM, SUITE, Archive, packages_of
from ansible_collections.emorobcare.fleet.tests.faults._server import FaultServer

Result = dict[str, t.Any]
Run = t.Callable[..., Result]

COLLECTIONS = Path(__file__).resolve().parents[2] / "collections"
_CHILD = f"""
import json, sys
from ansible.module_utils.testing import patch_module_args
from {depot_packages.__name__} import main
with patch_module_args(json.loads(sys.argv[1])):
    main()
"""

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("apt-get", "dpkg-deb", "gpg")), reason="needs a Debian machine with gpg"
)


@pytest.fixture(name="archive")
def archive_fixture(tmp_path: Path, server: FaultServer) -> t.Iterator[Archive]:
    (tmp_path / "archive").mkdir()
    archive = Archive(tmp_path / "archive", server)
    yield archive
    archive.close()


@pytest.fixture(name="fill")
def fill_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the module on Debian's own archive."""

    def fill(**args: t.Any) -> Result:
        with (
            patch_module_args({"dest": str(tmp_path / "packages"), "suite": SUITE, **args}),
            pytest.raises(SystemExit),
        ):
            depot_packages.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return fill


@pytest.fixture(name="run")
def run_fixture(fill: Run, archive: Archive) -> Run:
    """Run the module on our own archive."""

    def run(**args: t.Any) -> Result:
        return fill(**{"packages": [PROGRAM], "mirror": archive.uri, "keyring": str(archive.keyring), **args})

    return run


@pytest.fixture(name="repository")
def repository_fixture(tmp_path: Path) -> Path:
    return tmp_path / "packages" / SUITE


def installable(repository: Path, work: Path, packages: t.Sequence[str]) -> str:
    """What apt on a host that has no package would install from a repository alone, as role docker_host names it."""
    (work / "lists" / "partial").mkdir(parents=True)
    (work / "archives" / "partial").mkdir(parents=True)
    (work / "status").touch()
    (work / "depot.sources").write_text(
        f"Types: deb\nURIs: file:{repository}\nSuites: ./\nTrusted: yes\nCheck-Date: no\n", encoding="utf-8"
    )
    options = {
        "Dir::Etc::SourceList": work / "depot.sources",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State::Lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "APT::Sandbox::User": "",
        "APT::Architecture": "amd64",
    }
    command = ["apt-get", "--quiet"]
    command += [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
    subprocess.run([*command, "update"], check=True, capture_output=True)
    argv = [*command, "install", "--simulate", "--no-install-recommends", *packages]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_a_program_of_debians_own_archive_comes_with_all_that_it_needs_and_the_second_run_changes_nothing(
    fill: Run, tmp_path: Path, repository: Path
) -> None:
    predicted = fill(packages=["jq"], _ansible_check_mode=True)
    assert list(tmp_path.iterdir()) == []
    first = fill(packages=["jq"])
    assert predicted["bytes_to_fetch"] == first["bytes_to_fetch"] == first["bytes"]
    assert {"jq", "libjq1", "libc6"} <= set(packages_of(first))
    found = digests_below(str(repository))
    assert {one["path"]: one["sha256"] for one in first["packages"]}.items() <= found.items()
    second = fill(packages=["jq"])
    assert (second["changed"], second["bytes_to_fetch"]) == (False, 0)
    assert digests_below(str(repository)) == found
    assert f"Inst jq ({packages_of(first)['jq']} " in installable(repository, tmp_path / "host", ["jq"])


def test_the_same_archive_gives_the_same_bytes_elsewhere(fill: Run, tmp_path: Path) -> None:
    for place in ("one", "other"):
        fill(packages=["jq"], architecture="arm64", dest=str(tmp_path / place))
    assert digests_below(str(tmp_path / "one")) == digests_below(str(tmp_path / "other")) != {}


def test_debian_12_gets_dockers_plugins_from_debian_13_and_the_rest_from_its_own(fill: Run) -> None:
    found = packages_of(fill(suite="bookworm", _ansible_check_mode=True))
    assert found["docker-compose"].startswith("2.")
    assert "docker-buildx" in found
    assert found["libc6"].startswith("2.36-")
    assert found["docker.io"].startswith("20.10.")
    assert "python3.11" in found
    assert "docker-cli" not in found  # a package of Debian 13, where the engine's package has it no more


def test_what_the_program_needs_comes_with_it_and_an_epoch_is_no_part_of_a_name(
    run: Run, archive: Archive, tmp_path: Path, repository: Path
) -> None:
    archive.publish()
    assert packages_of(run()) == {PROGRAM: "1.0", LIBRARY: "1:1.0"}
    names = [f"{LIBRARY}_1.0_amd64.deb", f"{PROGRAM}_1.0_amd64.deb"]
    assert sorted(path.name for path in (repository / "pool").iterdir()) == names
    assert "Date: Tue, 14 Nov 2023 22:13:20 UTC\n" in (repository / "Release").read_text()
    assert f"Inst {LIBRARY} (1:1.0 " in installable(repository, tmp_path / "host", [PROGRAM])


def test_a_download_that_was_killed_is_gone_on_with(
    run: Run, archive: Archive, server: FaultServer, tmp_path: Path, repository: Path
) -> None:
    stop = 1_000_000
    program = archive.publish("1.0", Answer(stall_after=stop), Answer())
    args = {"dest": str(tmp_path / "packages"), "suite": SUITE, "packages": [PROGRAM]}
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps({**args, "mirror": archive.uri, "keyring": str(archive.keyring)})],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert server.stalled.wait(60)
    partial = tmp_path / "packages.apt" / f"{SUITE}-amd64" / "archives" / "partial" / f"{PROGRAM}_1.0_amd64.deb"
    while child.poll() is None and (not partial.exists() or not partial.stat().st_size):
        pass
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    server.release.set()
    server.settle()
    assert not repository.exists()
    result = run()
    assert result["changed"] is True
    asked = [request for request in server.gets if request.path == program]
    assert asked[-1].range is not None
    assert asked[-1].range[0] > 0
    assert (repository / "pool" / f"{PROGRAM}_1.0_amd64.deb").stat().st_size > stop
    assert run()["changed"] is False


def test_a_package_that_was_changed_on_the_way_is_refused_and_a_later_run_has_it(
    run: Run, archive: Archive, repository: Path
) -> None:
    archive.publish("1.0", Answer(corrupt_at=700_000), Answer(corrupt_at=700_000), Answer())
    result = run()
    assert (result["failed"], result["reason"]) == (True, "blob_corrupt")
    assert "another mirror" in result["msg"]
    assert not repository.exists()
    assert run()["reason"] == "blob_corrupt"
    assert run()["changed"] is True


@pytest.mark.parametrize("fault", ["flipped", "cut", "empty", "removed"])
def test_a_package_that_was_changed_in_the_repository_is_fetched_again_and_nothing_else(
    run: Run, archive: Archive, server: FaultServer, repository: Path, fault: str
) -> None:
    archive.publish()
    run()
    good = digests_below(str(repository))
    victim = repository / "pool" / f"{LIBRARY}_1.0_amd64.deb"
    content = bytearray(victim.read_bytes())
    content[300] ^= 1
    faults = {"flipped": bytes(content), "cut": bytes(content[:500]), "empty": b""}
    victim.unlink()
    if fault in faults:
        victim.write_bytes(faults[fault])
    before = len([request for request in server.gets if request.path.endswith(".deb")])
    result = run()
    assert (result["changed"], [one["name"] for one in result["packages"] if one["fetched"]]) == (True, [LIBRARY])
    assert digests_below(str(repository)) == good
    assert len([request for request in server.gets if request.path.endswith(".deb")]) == before + 1


@pytest.mark.parametrize("name", ["Packages", "Release"])
def test_an_index_that_was_changed_is_written_again_and_check_mode_says_so(
    run: Run, archive: Archive, repository: Path, name: str
) -> None:
    archive.publish()
    run()
    good = digests_below(str(repository))
    (repository / name).write_text("changed")
    assert run(_ansible_check_mode=True)["changed"] is True
    assert (repository / name).read_text() == "changed"
    assert run()["changed"] is True
    assert digests_below(str(repository)) == good


def test_a_download_of_another_run_that_was_changed_is_not_used(
    run: Run, archive: Archive, tmp_path: Path, repository: Path
) -> None:
    archive.publish()
    run()
    good = digests_below(str(repository))
    archives = tmp_path / "packages.apt" / f"{SUITE}-amd64" / "archives"
    victim = repository / "pool" / f"{PROGRAM}_1.0_amd64.deb"
    forged = bytearray(victim.read_bytes())
    forged[1000] ^= 1
    (archives / victim.name).write_bytes(bytes(forged))  # of the right size, which is all that apt looks at
    victim.unlink()
    assert run()["changed"] is True
    assert digests_below(str(repository)) == good


def test_a_newer_version_takes_the_place_of_the_older_one(run: Run, archive: Archive, repository: Path) -> None:
    archive.publish("1.0")
    run()
    archive.publish("1.1")
    predicted = run(_ansible_check_mode=True)
    result = run()
    assert result["removed"] == predicted["removed"] == [f"pool/{PROGRAM}_1.0_amd64.deb"]
    assert [one["name"] for one in result["packages"] if one["fetched"]] == [PROGRAM]
    assert not (repository / result["removed"][0]).exists()
    assert f"Filename: pool/{PROGRAM}_1.1_amd64.deb" in (repository / "Packages").read_text()


def test_every_package_that_the_archive_lacks_is_named(run: Run, archive: Archive, repository: Path) -> None:
    archive.publish()
    result = run(packages=[PROGRAM, "nosuch", "neither", f"{LIBRARY}=9.*"])
    assert (result["failed"], result["reason"]) == (True, "invalid")
    assert set(result["packages"]) == {"nosuch", "neither", LIBRARY}
    assert not repository.exists()


def test_an_archive_that_others_have_signed_is_refused(run: Run, archive: Archive, repository: Path) -> None:
    archive.publish()
    result = run(keyring="/usr/share/keyrings/debian-archive-keyring.gpg")
    assert (result["failed"], result["reason"]) == (True, "unsigned")
    assert not repository.exists()


def test_an_archive_that_nobody_has_signed_is_refused(run: Run, archive: Archive, repository: Path) -> None:
    archive.publish(sign=False)
    result = run()
    assert (result["failed"], result["reason"]) == (True, "unsigned")
    assert not repository.exists()


@pytest.mark.parametrize(
    "mirror", ["http://127.0.0.1:9/debian", pytest.param("http://mirror.invalid/debian", marks=pytest.mark.slow)]
)
def test_without_a_network_the_archive_is_named_and_what_is_there_stays(
    run: Run, archive: Archive, repository: Path, mirror: str
) -> None:
    archive.publish()
    run()
    good = digests_below(str(repository))
    for check in (True, False):
        result = run(mirror=mirror, _ansible_check_mode=check)
        assert (result["failed"], result["reason"]) == (True, "unavailable")
        assert f"{mirror} cannot be reached" in result["msg"]
    assert digests_below(str(repository)) == good


@pytest.mark.parametrize("kind", ["foreign file", "link"])
def test_what_does_not_belong_into_the_repository_is_refused_and_stays(
    run: Run, archive: Archive, repository: Path, kind: str
) -> None:
    archive.publish()
    repository.mkdir(parents=True)
    odd = repository / "notes.txt"
    odd.symlink_to("/etc/passwd") if kind == "link" else odd.write_text("mine")
    result = run()
    assert (result["failed"], result["reason"]) == (True, "unsafe_path" if kind == "link" else "invalid")
    assert "notes.txt" in result["msg"]
    assert os.path.lexists(odd)


def test_without_room_nothing_is_downloaded(
    run: Run, archive: Archive, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.publish()
    status = os.statvfs("/")
    full = os.statvfs_result((*status[:3], 1, 1, *status[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    result = run()
    assert (result["failed"], result["reason"]) == (True, "no_space")
    assert result["needed"] > result["available"]
    assert not [request for request in server.gets if request.path.endswith(".deb")]
