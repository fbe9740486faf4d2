# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_build import ImageBuildError
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_cache import build_base, fill, take

FAILING = "#!/bin/sh\necho '#5 [1/1] RUN cp'\necho '#5 ERROR: exit code: 1'\nexit 1\n"
TAKING = """#!/bin/sh
for word in "$@"; do case "$word" in --output=*) out="${word##*dest=}";; esac; done
cat >/dev/null
mkdir -p "$out/wheels" && echo one >"$out/wheels/one.whl"
"""


def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text(script)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], None),
        ([{"BASE_NGINX": "nginx:1"}], None),
        ([{"BASE_NGINX": "nginx:1"}, {"BASE_PYTHON": "python:2", "BASE_PYTHON_BUILD": "python:1"}], "python:1"),
    ],
)
def test_a_base_to_build_in_has_a_shell(args: list[dict[str, str]], expected: str | None) -> None:
    assert build_base(args) == expected


def test_what_a_builder_has_is_put_beside_what_was_kept_and_leftovers_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(tmp_path, monkeypatch, TAKING)
    cache = tmp_path / "cache"
    (cache / ".new-left-by-a-killed-run").mkdir(parents=True)
    (cache / "packages" / "wheels").mkdir(parents=True)
    (cache / "packages" / "wheels" / "two.whl").write_text("two")
    take("python:1", str(cache))
    assert sorted(str(file.relative_to(cache)) for file in cache.rglob("*") if file.is_file()) == [
        "packages/wheels/one.whl",
        "packages/wheels/two.whl",
    ]
    assert [entry.name for entry in cache.iterdir()] == ["packages"]


@pytest.mark.parametrize(("platform", "said"), [(None, []), ("linux/arm64", ["--platform=linux/arm64"])])
def test_a_base_for_another_platform_is_built_on_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str | None, said: list[str]
) -> None:
    docker(tmp_path, monkeypatch, TAKING.replace("cat >", f'echo "$@" >{tmp_path}/words; cat >'))
    (tmp_path / "cache").mkdir()
    take("python:1", str(tmp_path / "cache"), platform)
    words = (tmp_path / "words").read_text().split()
    assert [word for word in words if word.startswith("--platform")] == said


def test_a_builder_is_not_asked_to_take_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch, FAILING)
    fill("python:1", str(tmp_path / "cache"))
    (tmp_path / "cache" / "packages" / "one.whl").write_text("one")
    with pytest.raises(ImageBuildError, match=r"packages cannot be moved between .* step \[1/1\] RUN cp failed"):
        fill("python:1", str(tmp_path / "cache"))


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageBuildError, match=r"cache_directory .*file cannot be used: .*; choose another"):
        take("python:1", str(tmp_path / "file"))
