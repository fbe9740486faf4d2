# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def test_words_reach_the_command_as_they_are() -> None:
    with start(["printf", "%s", "$(id); *"], ENVIRONMENT) as process:
        assert process.communicate() == (b"$(id); *", b"")


def test_nothing_of_this_process_is_inherited_but_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    with start(["env"], ENVIRONMENT) as process:
        assert process.communicate()[0].splitlines() == [b"PATH=/usr/bin:/bin"]


def test_a_command_that_reads_finds_nothing_or_what_it_is_given() -> None:
    with start(["cat"], ENVIRONMENT) as process:
        assert process.communicate()[0] == b""
    with start(["cat"], ENVIRONMENT, stdin=subprocess.PIPE) as process:
        assert process.communicate(b"input")[0] == b"input"


def test_a_missing_command_is_named() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        start(["no-such-command-0"], ENVIRONMENT)
    assert caught.value.filename == "no-such-command-0"
