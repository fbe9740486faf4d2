# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_context import (
    ImageContextError,
    read_context,
    write_archive,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_input import context_files, image_input
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError


def describe(context: Path, **changes: t.Any) -> dict[str, t.Any]:
    """Describe an image of a context as the lookup does."""
    digest = image_input(context_files(context, "Dockerfile"), "Dockerfile", {})
    return {
        "service": "api",
        "context": str(context),
        "dockerfile": "Dockerfile",
        "args": {},
        "input": digest,
        **changes,
    }


@pytest.fixture(name="context")
def context_fixture(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    (context / "app" / "deep").mkdir(parents=True)
    (context / "Dockerfile").write_text("FROM scratch\n")
    (context / ".dockerignore").write_text("# comment\n*.log\n")
    (context / "app" / "main.py").write_text("print()\n")
    (context / "app" / "deep" / "run").write_text("#!/bin/sh\n")
    (context / "app" / "deep" / "run").chmod(0o700)
    (context / "app" / "link").symlink_to("main.py")
    (context / "debug.log").write_text("noise")
    return context


def pack(context: Path, archive: Path) -> dict[str, tarfile.TarInfo]:
    write_archive(context, read_context(describe(context)), archive)
    with tarfile.open(archive) as tar:
        return {member.name: member for member in tar}


def test_what_dockerignore_leaves_is_packed_with_its_folders(context: Path, tmp_path: Path) -> None:
    members = pack(context, tmp_path / "a.tar")
    assert list(members) == [
        "app",
        "app/deep",
        ".dockerignore",
        "Dockerfile",
        "app/deep/run",
        "app/link",
        "app/main.py",
    ]
    assert (members["app/link"].issym(), members["app/link"].linkname) == (True, "main.py")
    assert (members["app/deep/run"].mode, members["app/main.py"].mode) == (0o755, 0o644)


def test_contents_are_packed_whole(context: Path, tmp_path: Path) -> None:
    pack(context, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert t.cast("t.IO[bytes]", tar.extractfile("app/main.py")).read() == b"print()\n"


def test_times_owners_and_modes_of_the_checkout_do_not_show(context: Path, tmp_path: Path) -> None:
    pack(context, tmp_path / "a.tar")
    os.utime(context / "app" / "main.py", (1, 1))
    (context / "app" / "main.py").chmod(0o600)
    (context / "app").chmod(0o700)
    pack(context, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_file_that_changes_and_keeps_its_size_gets_another_time(context: Path, tmp_path: Path) -> None:
    before = pack(context, tmp_path / "a.tar")["app/main.py"]
    (context / "app" / "main.py").write_text("print(\n)")
    after = pack(context, tmp_path / "b.tar")["app/main.py"]
    assert before.size == after.size
    assert before.mtime != after.mtime


def test_a_context_that_changed_since_its_input_was_taken_is_refused(context: Path) -> None:
    image = describe(context)
    (context / "app" / "main.py").write_text("other\n")
    with pytest.raises(ImageContextError, match=f"of service api, .* has the input .* and not {image['input']}"):
        read_context(image)


def test_a_missing_context_is_named(tmp_path: Path) -> None:
    image = {"service": "api", "context": str(tmp_path / "nope"), "dockerfile": "Dockerfile", "args": {}, "input": ""}
    with pytest.raises(ImageContextError, match=r"context .*/nope of service api is not a folder on the controller"):
        read_context(image)


def test_a_missing_dockerfile_is_named(context: Path) -> None:
    with pytest.raises(ImageContextError, match=r"context .* of service api has no docker/Dockerfile"):
        read_context(describe(context, dockerfile="docker/Dockerfile"))


def test_a_private_key_is_refused(context: Path) -> None:
    image = describe(context)
    (context / "id_ed25519").write_text("x")
    with pytest.raises(StackFileError, match="private key"):
        read_context(image)
