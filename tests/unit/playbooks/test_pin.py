# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._hub import COMMIT, Repo, fake_hub
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._registry import (
    entry,
    layer,
    make_depot,
    manifest,
)

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS, CONFIG = b"weights" * 1000, b'{"layers": 12}'

Play = t.Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(name="play")
def play_fixture(tmp_path: Path) -> Play:
    """Run the playbook as people do, with these variables."""

    def play(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "HF_"))}
        kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
        environment = {**kept, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path / "ansible")}
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "playbooks/pin.yml", "-i", "localhost,"]
        for name, value in variables.items():
            command += ["-e", f"{name}='{value}'"]
        return subprocess.run(
            [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    return play


def pins(name: str, version: str, *files: tuple[str, bytes, str]) -> list[dict[str, t.Any]]:
    return [
        {
            "name": name,
            "version": version,
            "files": [
                {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "source": source}
                for path, content, source in files
            ],
        }
    ]


def test_a_model_on_a_hub_is_pinned_and_shown(play: Play, tmp_path: Path) -> None:
    files = {".gitattributes": b"*", "README.md": b"# x", "config.json": CONFIG, "model.safetensors": WEIGHTS}
    dest = tmp_path / "pins.yml"
    with fake_hub({"org/model": Repo(files, frozenset({"model.safetensors"}), token="s3cret")}) as hub:
        result = play(
            pin_model="org/model",
            pin_name="minilm",
            pin_version="1",
            pin_include="*.safetensors,*.json",
            pin_hub_url=hub.web.url,
            pin_hub_token="s3cret",
            pin_dest=str(dest),
        )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "s3cret" not in result.stdout + result.stderr
    expected = pins(
        "minilm",
        "1",
        ("config.json", CONFIG, f"hf://org/model@{COMMIT}/config.json"),
        ("model.safetensors", WEIGHTS, f"hf://org/model@{COMMIT}/model.safetensors"),
    )
    assert yaml.safe_load(dest.read_text()) == expected
    for line in dest.read_text().splitlines()[1:]:
        assert line in result.stdout


def test_a_model_in_a_depot_is_pinned(play: Play, tmp_path: Path) -> None:
    artifact = manifest(layer(WEIGHTS, "model.safetensors"), layer(CONFIG, "config.json"))
    depot = make_depot(tmp_path / "depot", [artifact, WEIGHTS, CONFIG], entry(artifact, "minilm-1"))
    dest = tmp_path / "pins.yml"
    result = play(pin_name="minilm", pin_version="1", pin_sources=f"depot://{depot}!/minilm-1", pin_dest=str(dest))
    assert result.returncode == 0, result.stdout + result.stderr
    expected = pins(
        "minilm",
        "1",
        ("model.safetensors", WEIGHTS, f"depot://{depot}!/minilm-1!/model.safetensors"),
        ("config.json", CONFIG, f"depot://{depot}!/minilm-1!/config.json"),
    )
    assert yaml.safe_load(dest.read_text()) == expected


def test_check_mode_shows_and_writes_nothing(play: Play, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(CONFIG)
    dest = tmp_path / "pins.yml"
    url = f"file://{tmp_path}/m.bin"
    result = play("--check", "--diff", pin_name="x", pin_version="1", pin_sources=url, pin_dest=str(dest))
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"+      sha256: {hashlib.sha256(CONFIG).hexdigest()}" in result.stdout
    assert not dest.exists()
