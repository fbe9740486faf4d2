# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import Accepted as Floor
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import (
    TrustPlaces,
    read_accepted,
    read_enrolment,
    write_accepted,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import check_clock
from ansible_collections.emorobcare.fleet.plugins.modules import depot_tool
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._libraries import pack_libraries
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import (
    DAY,
    Depot,
    first_root,
    next_root,
)

Result = dict[str, t.Any]
NOW = int(time.time())


@pytest.fixture(name="libraries", scope="module")
def libraries_fixture() -> bytes:
    return pack_libraries()


class Host:
    """A host whose folders are all in a test's own; `send` is what the action sends with the second call."""

    def __init__(self, folder: Path, libraries: bytes, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.places = TrustPlaces(str(folder / "anchor"), str(folder / "state"))
        self.archive = folder / "sent.zip"
        self.archive.write_bytes(libraries)
        self._libraries = libraries
        self._capsys = capsys

    def run(
        self, send: bool = True, root: bytes | None = None, earlier: t.Sequence[bytes] = (), **changes: t.Any
    ) -> Result:
        arguments = {
            "keys": "/nowhere",
            "fleet": "robots",
            "host": "robot-7",
            "now": NOW,
            "metadata": [base64.b64encode(one).decode() for one in (*earlier, root or first_root())],
            "libraries": str(self.archive) if send else None,
            "libraries_sha256": hashlib.sha256(self._libraries).hexdigest(),
            "folder": str(self.folder / "lib"),
            "commands": str(self.folder / "bin"),
            "root": str(self.folder / "fleet"),
            "secrets_root": str(self.folder / "secrets"),
            "trust_anchor": self.places.anchor,
            "trust_state": self.places.state,
            **changes,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            depot_tool.main()
        return t.cast("Result", json.loads(self._capsys.readouterr().out))

    def done(self, **changes: t.Any) -> Result:
        result = self.run(**changes)
        assert not result.get("failed"), result["msg"]
        return result

    def refused(self, reason: str, **changes: t.Any) -> Result:
        """Nothing is changed by what is refused, and check mode refuses the same."""
        before = self.files()
        for check_mode in (True, False):
            result = self.run(_ansible_check_mode=check_mode, **changes)
            assert (result.get("failed"), result.get("reason")) == (True, reason), (check_mode, result)
            assert self.files() == before
        return result

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {
            str(path.relative_to(self.folder)): (path.read_bytes(), path.stat().st_mode & 0o777)
            for path in self.folder.rglob("*")
            if path.is_file() and path.name != "lock"
        }


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path, libraries: bytes, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(tmp_path, libraries, capsys)


def test_a_host_is_enrolled_and_has_the_commands_and_a_key_of_its_own(host: Host) -> None:
    result = host.done(hardware=["pi5", "mk2"])
    assert result["changed"]
    enrolment = read_enrolment(host.places)
    assert (enrolment.fleet, enrolment.host, enrolment.hardware) == ("robots", "robot-7", ("mk2", "pi5"))
    assert enrolment.built == NOW
    assert result["public_key"].startswith("ssh-ed25519 ")
    files = host.files()
    assert {name: mode for name, (_data, mode) in files.items()}["state/host_ed25519"] == 0o600
    assert {"bin/fleet-apply", "bin/fleet-depot", "lib/fleet-depot.pyz", "lib/fleet-libraries.zip"} <= set(files)


def test_the_second_run_changes_nothing(host: Host) -> None:
    host.done()
    before = host.files()
    again = host.done(now=NOW + DAY)
    assert (again["changed"], again["needs_libraries"], host.files()) == (False, False, before)
    assert again["diff"]["after"]["files"] == []


def test_check_mode_says_what_would_be_done_and_does_nothing(host: Host) -> None:
    before = host.files()
    told = host.done(_ansible_check_mode=True, send=False)
    assert (told["changed"], told["public_key"], host.files()) == (True, "", before)
    assert told["diff"]["before"] == {"enrolled": False, "files": []}
    done = host.done()
    assert done["diff"] == told["diff"]


def test_without_the_libraries_it_asks_for_them_and_begins_nothing(host: Host) -> None:
    before = host.files()
    asked = host.done(send=False)
    assert (asked["needs_libraries"], host.files()) == (True, before)
    host.done()
    assert not host.done(send=False)["needs_libraries"]


def test_libraries_that_were_changed_on_the_way_are_refused(host: Host) -> None:
    host.archive.write_bytes(b"something else")
    result = host.run()
    assert (result["failed"], result["reason"]) == (True, "library_missing")
    assert not Path(host.places.root).exists()


@pytest.mark.parametrize("spoil", [lambda path: path.chmod(0o644), lambda path: path.write_bytes(b""), Path.unlink])
def test_a_command_that_differs_is_put_right(host: Host, spoil: t.Callable[[Path], None]) -> None:
    host.done()
    before = host.files()
    spoil(host.folder / "bin" / "fleet-apply")
    assert host.done()["changed"]
    assert host.files() == before


def test_a_newer_root_is_taken_and_an_older_one_is_refused(host: Host) -> None:
    newer = next_root(first_root(), "timestamp", "timestamp-9", "timestamp-1")
    host.done()
    assert host.done(root=newer)["changed"]
    assert Path(host.places.root).read_bytes() == newer
    assert read_accepted(host.places).versions["root"] == 2
    refused = host.refused("older", root=first_root())
    assert "newest root" in refused["msg"]


def test_enrolling_again_keeps_what_was_accepted(host: Host) -> None:
    host.done()
    write_accepted(host.places, Floor({"root": 1, "timestamp": 9}, {"demo": 4}, NOW))
    assert host.done(hardware=["mk2"])["changed"]
    assert read_accepted(host.places).releases == {"demo": 4}


def test_enrolling_again_forgets_what_keys_signed_that_were_replaced(host: Host) -> None:
    host.done()
    write_accepted(host.places, Floor({"root": 1, "timestamp": 9, "snapshot": 8}, {"demo": 4}, NOW))
    second = next_root(first_root(), "timestamp", "timestamp-9", "timestamp-1")
    third = next_root(second, "targets", "targets-9", "targets-1")
    assert host.done(root=third, earlier=[first_root(), second])["changed"]
    assert read_accepted(host.places) == Floor({"root": 3, "snapshot": 8}, {}, NOW)


def test_after_years_in_a_box_enrolling_again_is_enough_and_keeps_what_was_accepted(host: Host) -> None:
    host.done()
    floor = Floor({"root": 1, "timestamp": 9}, {"demo": 4}, NOW)
    write_accepted(host.places, floor)
    later = NOW + 4 * 365 * DAY
    with pytest.raises(DepotError, match="enrol the host again"):
        check_clock(later, max(read_enrolment(host.places).built, floor.time))
    assert host.done(now=later)["changed"]
    check_clock(later, read_enrolment(host.places).built)
    assert read_accepted(host.places) == floor


@pytest.mark.parametrize("torn", [None, b"", b"{", b"[]", b'{"schema":1}'])
def test_a_lost_memory_is_refused_unless_it_is_to_be_forgotten(host: Host, torn: bytes | None) -> None:
    host.done()
    accepted = Path(host.places.accepted)
    accepted.unlink() if torn is None else accepted.write_bytes(torn)
    refused = host.refused("state_lost")
    assert "fleet_forget=true" in refused["msg"]
    newer = next_root(first_root(), "timestamp", "timestamp-9", "timestamp-1")
    host.refused("state_lost", root=newer)  # not even a newer root makes a new memory by the way
    key = host.files()["state/host_ed25519"]
    assert host.done(forget=True)["changed"]
    assert read_accepted(host.places) == Floor({"root": 1}, {}, 0)
    assert host.files()["state/host_ed25519"] == key
    assert not host.done()["changed"]


def test_a_fleet_that_began_anew_is_taken_where_the_old_one_is_forgotten(host: Host) -> None:
    host.done()
    write_accepted(host.places, Floor({"root": 1, "timestamp": 9}, {"demo": 4}, NOW))
    other = first_root("other-")
    assert host.done(root=other, fleet="others", forget=True)["changed"]
    assert Path(host.places.root).read_bytes() == other
    assert read_accepted(host.places).releases == {}


def test_what_is_no_base64_or_no_root_is_refused(host: Host) -> None:
    host.done()
    host.refused("invalid", metadata=["no base64!"])
    host.refused("invalid", metadata=[])
    host.refused("invalid", root=b"{}")


def test_a_folder_that_cannot_be_is_a_refusal(host: Host) -> None:
    (host.folder / "file").touch()
    result = host.run(commands=str(host.folder / "file" / "bin"))
    assert (result["failed"], result["reason"]) == (True, "write_failed")


def program(host: Host, *words: str) -> subprocess.CompletedProcess[str]:
    # Isolated: neither this collection nor what is installed beside this Python.
    return subprocess.run(
        [str(host.folder / "bin" / words[0]), *words[1:]], capture_output=True, text=True, check=False
    )


def test_the_commands_run_with_the_folders_that_they_were_made_for(host: Host, tmp_path: Path) -> None:
    host.done()
    depot = Depot(tmp_path / "stick")
    depot.release(now=NOW, changes={"created": NOW})
    done = program(host, "fleet-depot", "verify", str(depot.path))
    assert (done.returncode, done.stderr) == (0, "")
    assert ": 1 releases, " in done.stdout
    (depot.metadata / "timestamp.json").unlink()
    done = program(host, "fleet-apply", str(depot.path))
    assert (done.returncode, done.stderr.partition(":")[0]) == (1, "NOT applied (not_a_depot)")
    receipts = list((tmp_path / "stick" / "receipts" / "robot-7").iterdir())
    assert len(receipts) == 1
    assert json.loads(receipts[0].read_text())["refused"]["reason"] == "not_a_depot"
    assert [path.name for path in (tmp_path / "fleet" / "receipts" / "robot-7").iterdir()] == ["1.json"]
