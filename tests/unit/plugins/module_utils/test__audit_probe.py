# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_probe import (
    probe_argv,
    probe_command,
    read_probe,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Answer, ImageEngineError
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._audit import CONFIG

STARTED = [
    Answer(0, "", ""),
    Answer(1, "", "wget: can't connect to remote host (127.0.0.1): Connection refused"),
    Answer(1, "", "Could not connect to Redis at 127.0.0.1:6379: Connection refused"),
    Answer(1, "", "connection to socket /run/db.sock failed: No such file or directory"),
    Answer(22, "", "curl: (22) The requested URL returned error: 404 Not Found"),
    Answer(2, "127.0.0.1:5432 - no response", ""),
]
NOT_STARTED = [
    Answer(
        127,
        "",
        'docker: Error response from daemon: runc create failed: exec: "curl": executable file not found in $PATH',
    ),
    Answer(126, "", 'docker: Error response from daemon: runc create failed: exec: "/srv/x": permission denied'),
    Answer(125, "", 'docker: Error response from daemon: exec: "curl": executable file not found in $PATH'),
    Answer(127, "", "sh: 1: curl: not found"),
    Answer(1, "", "/bin/sh: 1: curl: not found"),
    Answer(1, "", "/bin/sh: curl: not found"),
    Answer(1, "", "/bin/bash: line 1: curl: command not found"),
    Answer(2, "", "/usr/bin/python3: can't open file '/opt/probe.py': [Errno 2] No such file or directory"),
    Answer(1, "", "Traceback (most recent call last):\nModuleNotFoundError: No module named 'requests'"),
    Answer(1, "", "/usr/bin/python3: No module named probe"),
    Answer(1, "", "Error: Cannot find module '/opt/probe.js'"),
    Answer(127, "", "wget: error while loading shared libraries: libssl.so.3: cannot open shared object file"),
    Answer(1, "", "standard_init_linux.go:228: exec user process caused: no such file or directory"),
    Answer(1, "", "exec /srv/probe: no such file or directory"),
    Answer(127, "", ""),
]


@pytest.mark.parametrize("answer", STARTED)
def test_a_probe_that_finds_nobody_has_started(answer: Answer) -> None:
    assert read_probe(answer).started


@pytest.mark.parametrize("answer", NOT_STARTED)
def test_a_probe_that_cannot_start_says_why(answer: Answer) -> None:
    probe = read_probe(answer)
    assert not probe.started
    assert f"(status {answer.status})" in probe.said


def test_an_engine_that_cannot_run_anything_is_no_fault_of_the_image() -> None:
    with pytest.raises(ImageEngineError, match="no space left"):
        read_probe(Answer(125, "", "docker: Error response from daemon: no space left on device"))


def test_both_forms_of_a_health_check_are_commands() -> None:
    assert probe_command(CONFIG) == ["python3", "probe.py"]
    shell = dataclasses.replace(CONFIG, health=("CMD-SHELL", "curl -f x || exit 1"))
    assert probe_command(shell) == ["/bin/sh", "-c", "curl -f x || exit 1"]
    with pytest.raises(ValueError, match="HEALTHCHECK ODD"):
        probe_command(dataclasses.replace(CONFIG, health=("ODD", "x")))


def test_a_probe_runs_hardened_and_without_a_network() -> None:
    argv = probe_argv("sha256:1", "name", ["python3", "--x"])
    assert {"--read-only", "--cap-drop=ALL", "--network=none", "--rm", "--entrypoint=python3"} <= set(argv)
    assert argv[argv.index("--") :] == ["--", "sha256:1", "--x"]
