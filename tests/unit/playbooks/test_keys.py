# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def play(folder: Path, *options: str) -> str:
    """Run the playbook as people do; return what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment = {**kept, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "ansible")}
    secrets = json.dumps({"fleet_key_passphrases": {"root-1": "s3cret", "root-2": "s3cret"}})
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "playbooks/keys.yml", "-i", "localhost,"]
    command += ["-e", f"fleet_keys={folder}/keys", "-e", secrets, "-vvv", "--diff", *options]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "s3cret" not in result.stdout + result.stderr
    return result.stdout


def test_keys_are_made_then_left_alone_then_replaced(tmp_path: Path) -> None:
    told = play(tmp_path)
    assert "changed=1" in told
    assert f"root-1: {tmp_path}/keys/root-1.pem" in told
    assert "changed=0" in play(tmp_path)
    assert "changed=1" in play(tmp_path, "-e", "fleet_rotate=timestamp")
    assert (tmp_path / "keys" / "2.root.json").is_file()
