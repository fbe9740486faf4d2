# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pwd
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.modules import host_info

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the module as Ansible would, on this machine; return its JSON."""

    def run(**args: t.Any) -> dict[str, t.Any]:
        folders = {"folder": str(tmp_path / "host"), "notes": str(tmp_path / "notes")}
        with patch_module_args({**folders, **args}), pytest.raises(SystemExit):
            host_info.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run


def test_documentation_and_argument_spec_are_the_same() -> None:
    documented = yaml.safe_load(host_info.DOCUMENTATION)["options"]
    assert set(documented) == set(host_info.ARGUMENT_SPEC)
    for name, spec in host_info.ARGUMENT_SPEC.items():
        assert documented[name]["type"] == spec["type"]
        assert documented[name]["default"] == spec["default"]


def test_documentation_names_all_that_is_returned(run: Run) -> None:
    assert set(yaml.safe_load(host_info.RETURN)) == set(run()) - {"changed", "invocation"}


def test_a_host_that_has_nothing_is_told_without_a_failure(run: Run) -> None:
    found = run(
        packages=["no-such-package"], group="no-such-group", sysctls={"net.no.such": 1}, units=["no-such.service"]
    )
    assert found["changed"] is False
    empty = ("packages", "members", "own", "sysctls", "drifted", "units", "changes", "notes", "owned", "loose")
    assert not any(found[name] for name in empty)


def test_files_are_told_with_the_mode_that_they_should_have(run: Run, tmp_path: Path) -> None:
    for name, mode in (("open", 0o666), ("tight", 0o600), ("right", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    user, group = (tmp_path / "open").owner(), (tmp_path / "open").group()
    asked = {"path": f"{tmp_path}/*", "mode": "0644", "owner": user, "group": group}
    found = run(owned=[asked, {**asked, "path": f"{tmp_path}/none"}])
    assert {one["path"].rpartition("/")[2]: one["mode"] for one in found["owned"]} == {
        "open": "0644",
        "right": "0644",
        "tight": "0600",
    }
    assert found["loose"] == [f"{tmp_path}/open"]
    assert run(owned=[{**asked, "owner": "nobody-of-that-name"}])["loose"] == sorted(
        f"{tmp_path}/{name}" for name in ("open", "right", "tight")
    )


def test_what_may_have_any_group_keeps_its_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "docker.sock").touch(mode=0o600)
    asked = {"path": f"{tmp_path}/docker.sock", "mode": "0660", "owner": (tmp_path / "docker.sock").owner()}
    found = run(owned=[{**asked, "group": ""}])
    assert found["owned"] == [{"path": asked["path"], "mode": "0600", "owner": asked["owner"]}]
    assert found["loose"] == []
    assert run(owned=[{**asked, "group": "no-group-of-that-name"}])["loose"] == [asked["path"]]


@pytest.mark.parametrize("target", ["/dev/null", "/no/such/file"])
def test_a_link_that_leads_to_no_file_is_left_alone(run: Run, tmp_path: Path, target: str) -> None:
    (tmp_path / "docker.socket").symlink_to(target)
    for path in (f"{tmp_path}/docker.socket", f"{tmp_path}/*"):
        found = run(owned=[{"path": path, "mode": "0644"}])
        assert (found["owned"], found["loose"]) == ([], [])


def test_a_mode_that_is_none_is_refused(run: Run) -> None:
    found = run(owned=[{"path": "/etc", "mode": "rw-r--r--"}])
    assert found["failed"]
    assert "octal number" in found["msg"]


def test_notes_and_changes_of_before_are_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "host" / "kernel").mkdir(parents=True)
    (tmp_path / "host" / "lock").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "users.json").write_text('["ana"]\n')
    found = run()
    assert found["changes"] == ["kernel"]
    assert found["notes"] == {"users": ["ana"]}


def test_a_damaged_note_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "users.json").write_text("[")
    found = run()
    assert found["failed"]
    assert "users.json is damaged" in found["msg"]


def test_kernel_settings_that_are_not_as_wanted_are_told(run: Run) -> None:
    with open("/proc/sys/net/ipv4/tcp_syncookies", encoding="ascii") as file:
        value = file.read().strip()
    assert run(sysctls={"net.ipv4.tcp_syncookies": value})["drifted"] == []
    assert run(sysctls={"net.ipv4.tcp_syncookies": "77"})["drifted"] == ["net.ipv4.tcp_syncookies"]


def test_who_became_root_is_told_by_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "operator")
    assert host_info.connecting_user() == "operator"


def test_without_sudo_it_is_who_runs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SUDO_USER", "DOAS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(host_info, "_PROC", tmp_path)
    assert host_info.connecting_user() == pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("key", "by_key", "expected"),
    [("ssh-ed25519 AAAA\n", "yes", True), ("# none\n", "yes", False), ("ssh-ed25519 AAAA\n", "no", False)],
    ids=["a key", "only a comment", "no keys are taken"],
)
def test_a_user_has_a_way_in_only_with_a_key_that_sshd_takes(
    key: str, by_key: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "root")
    (tmp_path / "keys").write_text(key)
    said = f"permitrootlogin no\nport 22\npubkeyauthentication {by_key}\nauthorizedkeysfile {tmp_path}/keys\n"
    login = host_info.look_login(lambda argv: said)
    assert login == {"user": "root", "sshd": True, "has_key": expected, "ports": [22], "root": "no"}


def test_a_host_without_sshd_has_no_way_in() -> None:
    login = host_info.look_login(lambda argv: "")
    assert (login["sshd"], login["has_key"], login["ports"]) == (False, False, [])


def test_units_are_told_by_the_lines_of_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_info, "_RUN", tmp_path)
    units = ["chrony.service", "ntpsec.service"]
    assert host_info.look_units(lambda argv: "active\ninactive\n", units) == []
    (tmp_path / "systemd" / "system").mkdir(parents=True)
    assert host_info.look_units(lambda argv: "inactive\nactive\n", units) == ["ntpsec.service"]
