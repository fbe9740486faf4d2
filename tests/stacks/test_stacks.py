# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each stack, built from nothing but packages, held against the rules, deployed behind its gate, and taken off again.

It is the development form, in the engine of this machine. EmoRobCare is deployed by molecule, on lab hosts.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
STACKS = sorted(file.parent.name for file in ROOT.glob("stacks/*/stack.yml") if file.parent.name != "emorobcare")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def play(playbook: str, stack: str, port: int, *more: str) -> str:
    variables = [f"fleet_stack={ROOT / 'stacks' / stack}", f"fleet_port={port}", *more]
    options = [word for variable in variables for word in ("-e", variable)]
    argv = [str(PLAYBOOK), str(ROOT / playbook), "-i", str(ROOT / "inventories" / "dev"), *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_is_built_passes_the_rules_and_its_gate_and_comes_to_rest(stack: str) -> None:
    port = free_port()
    try:
        first = play("site.yml", stack, port)
        assert re.search(rf"^{stack} \w+ on localhost: up in ", first, re.MULTILINE), first
        again = play("site.yml", stack, port)
        assert re.search(r"changed=0 ", again), again
        assert "up already, nothing changed" in again
    finally:
        play("playbooks/down.yml", stack, port, "fleet_data=true")


def built(stack: str) -> dict[str, str]:
    """Return the id of each image of a stack, by its reference."""
    argv = ["docker", "image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", f"{stack}/*"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return {reference: id_ for reference, _space, id_ in (line.partition(" ") for line in lines)}


def test_a_stack_is_built_again_without_a_network_and_comes_out_the_same() -> None:
    play("playbooks/build.yml", "vitalyst", 0)
    online = built("vitalyst")
    subprocess.run(["docker", "image", "rm", *online], capture_output=True, check=True)
    try:
        play("playbooks/build.yml", "vitalyst", 0, "image_build_offline=true")
        assert built("vitalyst") == online
        assert len(online) == 3
    finally:
        subprocess.run(["docker", "image", "rm", *online], capture_output=True, check=False)
