# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether sshd goes by what the role tells it, with an sshd that prints what a test says."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.template import trust_as_template

from ansible_collections.emorobcare.fleet.tests.unit.roles.docker_host._role import (
    ROLE,
    decide,
    host_info,
    render,
    templar,
)

# As OpenSSH 9.2 prints them.
AS_WANTED = {
    "port": "22",
    "permitrootlogin": "without-password",
    "passwordauthentication": "no",
    "kbdinteractiveauthentication": "no",
    "x11forwarding": "no",
    "permitemptypasswords": "no",
    "loglevel": "INFO",
}


class Host:
    """A host whose sshd prints these options, other ones for some users."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "10-fleet.conf"
        self._folder = folder
        sshd = folder / "sshd"
        sshd.write_text(f'#!/bin/sh\nuser=${{3%%,*}}\nexec cat "{folder}/said.${{user#user=}}"\n')
        sshd.chmod(0o755)
        self.prints()

    def prints(self, *users: str, **options: str) -> None:
        for user in users or ("", "root", "operator"):
            said = "".join(f"{name} {value}\n" for name, value in {**AS_WANTED, **options}.items())
            (self._folder / f"said.{user}").write_text(said)

    def check(self, **asked: t.Any) -> tuple[int, str]:
        found = {"__docker_host_host": host_info(), "ansible_search_path": [str(ROLE)]}
        argv = decide("__docker_host_ssh_check", **found, __docker_host_ssh_file=str(self.config), **asked)
        environment = {"PATH": f"{self._folder}:/usr/local/bin:/usr/bin:/bin"}
        ended = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stderr.strip()

    def write(self, **asked: t.Any) -> None:
        lines = render("etc/ssh/sshd_config.d/10-fleet.conf", __docker_host_host=host_info(), **asked)
        self.config.write_text("# managed\n" + "\n".join(lines) + "\n")


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_change_of_ssh_is_checked_after_sshd_has_read_it() -> None:
    change = yaml.safe_load((ROLE / "tasks" / "harden_ssh.yml").read_text(encoding="utf-8"))[0]
    given = {"__docker_host_host": host_info(), "ansible_search_path": [str(ROLE)]}
    activate = templar(**given).template(trust_as_template(change["emorobcare.fleet.host_change"]["activate"]))
    assert [argv[0] for argv in activate] == ["sshd", "systemctl", "python3"]
    assert activate[-1][-3:] == [
        "PasswordAuthentication,KbdInteractiveAuthentication,PermitEmptyPasswords,PermitRootLogin,X11Forwarding",
        "root",
        "operator",
    ]


@pytest.mark.parametrize("root", ["without-password", "prohibit-password"])
def test_an_sshd_that_goes_by_the_file_is_right(host: Host, root: str) -> None:
    host.prints(permitrootlogin=root)
    host.write()
    assert host.check() == (0, "")


@pytest.mark.parametrize(
    ("users", "options", "said"),
    [
        pytest.param((), {"passwordauthentication": "yes"}, "passwordauthentication yes, while", id="no Include"),
        pytest.param(
            ("root",), {"permitrootlogin": "yes"}, "permitrootlogin yes for user root, while", id="a Match for root"
        ),
        pytest.param(
            ("operator",),
            {"kbdinteractiveauthentication": "yes"},
            "kbdinteractiveauthentication yes for user operator, while",
            id="a Match for who connects",
        ),
    ],
)
def test_an_sshd_that_goes_by_something_else_is_told_of(
    host: Host, users: tuple[str, ...], options: dict[str, str], said: str
) -> None:
    host.prints(*users, **options)
    host.write()
    code, why = host.check()
    assert code == 1
    assert why.startswith(f"sshd goes by {said} {host.config} says ")
    assert "Include /etc/ssh/sshd_config.d/*.conf" in why


def test_a_users_own_value_of_the_roles_options_is_checked_and_other_options_are_left_to_sshd(host: Host) -> None:
    asked = {"docker_host_ssh_settings": {"X11Forwarding": "yes", "LogLevel": "VERBOSE", "LoginGraceTime": "1m"}}
    host.write(**asked)
    assert host.check(**asked)[1].startswith("sshd goes by x11forwarding no, while")
    host.prints(x11forwarding="yes")
    assert host.check(**asked) == (0, "")


def test_on_the_way_back_there_is_nothing_to_go_by(host: Host) -> None:
    host.prints(passwordauthentication="yes")
    assert host.check() == (0, "")


def test_an_sshd_that_tells_nothing_is_not_right(host: Host) -> None:
    host.write()
    (host.config.parent / "said.root").unlink()
    code, why = host.check()
    assert code == 1
    assert why.startswith("sshd -T: ")
