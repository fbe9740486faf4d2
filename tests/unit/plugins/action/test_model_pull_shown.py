# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people see of a pull: real runs of ansible-playbook, with a module that works until its progress was seen."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import termios
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
LINE = "localhost: asr/3:  50 %  2.0/4.0 GB  20 s left  100.0 MB/s"

MODULE = """
import json, os, time
from ansible.module_utils.basic import AnsibleModule

ARGUMENT_SPEC = {"name": {}, "version": {}, "root": {"type": "path"}, "progress_path": {"type": "path"}}

def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC)
    path, root = module.params["progress_path"], module.params["root"]
    if path:
        os.makedirs(os.path.dirname(path))
        with open(path, "w") as file:
            json.dump({"schema": 1, "phase": "fetch", "total": 4 * 10**9, "done": 2 * 10**9, "resumed": 10**9,
                       "started": 1000.0, "updated": 1010.0}, file)
        deadline = time.monotonic() + 60
        while not os.path.exists(os.path.join(root, "seen")):
            if time.monotonic() > deadline:
                module.fail_json(msg="nobody saw the progress")
            time.sleep(0.01)
    module.exit_json(changed=True)

if __name__ == "__main__":
    main()
"""

PLAYBOOK = """
- name: Pull
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Pull
      emorobcare.fleet.model_pull:
        name: asr
        version: "3"
        root: "{{ playbook_dir }}/root"
"""


@pytest.fixture(name="play")
def play_fixture(tmp_path: Path) -> t.Callable[..., subprocess.Popen[bytes]]:
    """Start the playbook on a collection of our action and that module, with looks that come soon."""
    plugins = tmp_path / "ansible_collections/emorobcare/fleet/plugins"
    for name in ("action", "modules", "plugin_utils"):
        (plugins / name).mkdir(parents=True)
    for name in ("action/model_pull.py", "plugin_utils/_progress.py"):
        shutil.copyfile(ROOT / "plugins" / name, plugins / name)
    follower = (ROOT / "plugins/plugin_utils/_follower.py").read_text()
    for setting, soon in (("FIRST_LOOK = 2.0", "FIRST_LOOK = 0.1"), ("LOG_EVERY = 30.0", "LOG_EVERY = 0.1")):
        assert setting in follower
        follower = follower.replace(setting, soon)
    (plugins / "plugin_utils/_follower.py").write_text(follower)
    (plugins / "modules/model_pull.py").write_text(MODULE)
    (tmp_path / "root").mkdir()
    (tmp_path / "ansible.cfg").touch()
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    environment = {
        **kept,
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
        "ANSIBLE_NOCOLOR": "1",
        "TERM": "xterm",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "play.yml", "-i", "localhost,"]
    command += ["-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]

    def play(stdout: int, stderr: int, **settings: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )

    return play


Play = t.Callable[..., "subprocess.Popen[bytes]"]


def test_on_a_terminal_a_line_is_updated_and_gone_before_the_result(play: Play, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 100))
    process = play(theirs, theirs)
    os.close(theirs)
    output = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while chunk := _read(terminal):
            output += chunk
            if LINE.encode() in output:
                (tmp_path / "root/seen").touch()
    assert process.wait() == 0, output
    _before, _line, after = output.decode().partition(f"\r{LINE}\x1b[K")
    last, _changed, _rest = after.partition("changed: [localhost]")
    assert last.replace(f"\r{LINE}\x1b[K", "") == "\r\x1b[K"


def test_in_a_log_lines_come_while_the_module_works(play: Play, tmp_path: Path) -> None:
    with play(subprocess.PIPE, subprocess.PIPE) as process:
        assert process.stderr
        assert process.stdout
        assert process.stderr.readline().decode() == f"{LINE}\n"
        (tmp_path / "root/seen").touch()
        assert set(process.stderr.read().decode().splitlines()) <= {LINE}
        output = process.stdout.read().decode()
    assert process.returncode == 0, output
    assert "changed: [localhost]" in output
    assert "\r" not in output
    assert "\x1b" not in output


def test_output_for_programs_has_nothing_else_in_it(play: Play) -> None:
    with play(subprocess.PIPE, subprocess.PIPE, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json") as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert json.loads(output)["plays"][0]["tasks"][0]["hosts"]["localhost"]["changed"]


def _read(terminal: t.IO[bytes]) -> bytes:
    try:
        return terminal.read(4096)
    except OSError:  # Linux: whoever had the other end has closed it
        return b""
