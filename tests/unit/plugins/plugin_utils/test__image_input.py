# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import socket
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_input import (
    ContextFile,
    context_files,
    image_input,
    lock_fault,
    secret_fault,
    tag_of,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError


@pytest.fixture(name="context")
def context_fixture(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    context = tmp_path / "api"
    (context / "src").mkdir(parents=True)
    (context / "Dockerfile").write_text("FROM scratch\n")
    (context / "src" / "app.py").write_text("print(1)\n")
    (context / "src" / "run").write_text("#!/bin/sh\n")
    (context / "src" / "run").chmod(0o755)
    (context / "link").symlink_to("src/app.py")
    return context


def paths(context: pathlib.Path, dockerfile: str = "Dockerfile") -> list[str]:
    return [file.path for file in context_files(context, dockerfile)]


def digest(context: pathlib.Path) -> str:
    return image_input(context_files(context, "Dockerfile"), "Dockerfile", {})


def test_files_and_links_of_a_context_are_found(context: pathlib.Path) -> None:
    assert [(file.path, file.kind) for file in context_files(context, "Dockerfile")] == [
        ("Dockerfile", "file"),
        ("link", "link"),
        ("src/app.py", "file"),
        ("src/run", "executable"),
    ]


IGNORED = [
    pytest.param("src\n", ["Dockerfile", "link"], id="folder"),
    pytest.param("# src\n\n  link  \n", ["Dockerfile", "src/app.py", "src/run"], id="comments and spaces"),
    pytest.param("*\n!src/run\n", ["Dockerfile", "src/run"], id="exception"),
    pytest.param("**/*.py\n", ["Dockerfile", "link", "src/run"], id="pattern at any depth"),
]


@pytest.mark.parametrize(("text", "left"), IGNORED)
def test_dockerignore_counts_and_the_dockerfile_is_never_left_out(
    context: pathlib.Path, text: str, left: list[str]
) -> None:
    (context / ".dockerignore").write_text(text)
    assert [path for path in paths(context) if path != ".dockerignore"] == left


def test_the_ignore_file_of_a_dockerfile_counts_before_the_general_one(context: pathlib.Path) -> None:
    (context / "Other").write_text("FROM scratch\n")
    (context / ".dockerignore").write_text("src\n")
    (context / "Other.dockerignore").write_text("link\n")
    assert "src/app.py" in paths(context, "Other")
    assert "link" not in paths(context, "Other")


def touch(context: pathlib.Path) -> None:
    os.utime(context / "src" / "app.py", (1, 1))


def forbid_reading_by_others(context: pathlib.Path) -> None:
    (context / "src" / "app.py").chmod(0o600)


def make_empty_folder(context: pathlib.Path) -> None:
    (context / "__pycache__").mkdir()


def write_same(context: pathlib.Path) -> None:
    (context / "src" / "app.py").unlink()
    (context / "src" / "app.py").write_text("print(1)\n")


@pytest.mark.parametrize("change", [touch, forbid_reading_by_others, make_empty_folder, write_same])
def test_what_a_checkout_does_not_keep_does_not_count(
    context: pathlib.Path, change: t.Callable[[pathlib.Path], None]
) -> None:
    before = digest(context)
    change(context)
    assert digest(context) == before


def test_the_place_of_the_context_does_not_count(context: pathlib.Path) -> None:
    before = digest(context)
    other = shutil.copytree(context, context.parent / "deeper" / "elsewhere", symlinks=True)
    assert digest(other) == before


def change_content(context: pathlib.Path) -> None:
    (context / "src" / "app.py").write_text("print(2)\n")


def rename(context: pathlib.Path) -> None:
    (context / "src" / "app.py").rename(context / "src" / "main.py")


def make_executable(context: pathlib.Path) -> None:
    (context / "src" / "app.py").chmod(0o755)


def turn_link(context: pathlib.Path) -> None:
    (context / "link").unlink()
    (context / "link").symlink_to("src/run")


def replace_link_by_its_target(context: pathlib.Path) -> None:
    (context / "link").unlink()
    (context / "link").write_text("print(1)\n")


def change_dockerfile(context: pathlib.Path) -> None:
    (context / ".dockerignore").write_text("Dockerfile\n")
    before = digest(context)
    (context / "Dockerfile").write_text("FROM scratch\nUSER 1\n")
    assert digest(context) != before


@pytest.mark.parametrize(
    "change", [change_content, rename, make_executable, turn_link, replace_link_by_its_target, change_dockerfile]
)
def test_what_goes_into_the_image_counts(context: pathlib.Path, change: t.Callable[[pathlib.Path], None]) -> None:
    before = digest(context)
    change(context)
    assert digest(context) != before


def test_arguments_and_the_dockerfiles_name_count(context: pathlib.Path) -> None:
    files = context_files(context, "Dockerfile")
    inputs = {
        image_input(files, "Dockerfile", {}),
        image_input(files, "Dockerfile", {"A": "1"}),
        image_input(files, "Dockerfile", {"A": "2"}),
        image_input(files, "Other", {}),
    }
    assert len(inputs) == 4
    assert image_input(reversed(files), "Dockerfile", {"B": "1", "A": "1"}) == image_input(
        files, "Dockerfile", {"A": "1", "B": "1"}
    )


def test_an_input_is_the_digest_of_its_canonical_json() -> None:
    files = [ContextFile("b", "link", "a"), ContextFile("a", "executable", "00")]
    text = b'{"args":{"A":"1"},"dockerfile":"D","files":[["a","executable","00"],["b","link","a"]],"schema":1}'
    assert image_input(files, "D", {"A": "1"}) == hashlib.sha256(text).hexdigest()
    assert tag_of("0123456789abcdef" * 4) == "0123456789abcdef"


PEM = b"-----BEGIN %sPRIVATE KEY-----\nMIIE\n-----END %sPRIVATE KEY-----\n"

SECRETS = [
    pytest.param(".env", b"", "an environment file holds secrets", id=".env"),
    pytest.param(".env.production", b"", "an environment file holds secrets", id=".env of an environment"),
    pytest.param(".env.example", b"A=", "", id="example"),
    pytest.param("id_ed25519", b"", "it looks like a private key", id="name of an SSH key"),
    pytest.param("id_ed25519.pub", b"ssh-ed25519 AAAA", "", id="public key"),
    pytest.param("tls.pem", PEM % (b"", b""), "it looks like a private key", id="PKCS 8"),
    pytest.param("x", PEM % (b"RSA ", b"RSA "), "it looks like a private key", id="PKCS 1"),
    pytest.param("x", PEM % (b"OPENSSH ", b"OPENSSH "), "it looks like a private key", id="OpenSSH"),
    pytest.param("x", b"cert\n" + PEM % (b"EC ", b"EC "), "it looks like a private key", id="after a certificate"),
    pytest.param("x", b"AGE-SECRET-KEY-1QQQ", "it looks like a private key", id="age"),
    pytest.param("ca.pem", b"-----BEGIN CERTIFICATE-----\nMII\n", "", id="certificate"),
    pytest.param("test.py", b'KEY = "-----BEGIN PRIVATE KEY-----"\n', "", id="mentioned in a program"),
]


@pytest.mark.parametrize(("name", "content", "fault"), SECRETS)
def test_secrets_are_known_by_name_and_content(name: str, content: bytes, fault: str) -> None:
    assert secret_fault(name, content) == fault


def test_secrets_in_a_context_are_refused_all_at_once(context: pathlib.Path) -> None:
    (context / ".env").write_text("PASSWORD=x\n")
    (context / "src" / "key.pem").write_bytes(PEM % (b"", b""))
    with pytest.raises(StackFileError) as caught:
        context_files(context, "Dockerfile")
    way_out = "add it to .dockerignore, and give secrets to the build as build secrets"
    assert [str(problem) for problem in caught.value.problems] == [
        f"api/.env: an environment file holds secrets; {way_out}",
        f"api/src/key.pem: it looks like a private key; {way_out}",
    ]
    (context / ".dockerignore").write_text(".env\n**/*.pem\n")
    assert "src/key.pem" not in paths(context)


def test_a_large_file_is_hashed_and_not_searched(context: pathlib.Path) -> None:
    (context / "large").write_bytes(b"\0" * 1_000_001)
    large = next(file for file in context_files(context, "Dockerfile") if file.path == "large")
    assert large.content == hashlib.sha256(b"\0" * 1_000_001).hexdigest()


def test_a_socket_is_refused(context: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(context)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(StackFileError, match=r"neither a file nor a folder nor a link; add it to \.dockerignore"):
            context_files(context, "Dockerfile")


def test_a_name_that_is_not_utf_8_is_refused(context: pathlib.Path) -> None:
    (context / os.fsdecode(b"\xff")).write_text("")
    with pytest.raises(StackFileError, match="not UTF-8; rename it"):
        context_files(context, "Dockerfile")


HASH = f"--hash=sha256:{'a' * 64}"
LOCKS = [
    pytest.param("requirements.txt", f"# lock\n--no-binary :none:\na==1 \\\n    {HASH}\n", "", id="with hashes"),
    pytest.param("requirements.txt", f"a==1 \\\n    {HASH}\nb==2\n", "b==2 has no hash", id="one without"),
    pytest.param("requirements.txt", "fastapi\n", "fastapi has no hash", id="no lock at all"),
    pytest.param("requirements.in", "fastapi\n", "", id="what people edit"),
]


@pytest.mark.parametrize(("name", "text", "fault"), LOCKS)
def test_every_requirement_of_a_lock_file_has_a_hash(name: str, text: str, fault: str) -> None:
    said = lock_fault(name, text.encode())
    assert said.startswith(fault)
    assert bool(said) == bool(fault)


def test_a_lock_file_without_hashes_is_refused_by_its_path(context: pathlib.Path) -> None:
    (context / "requirements.txt").write_text("fastapi==1.0\n")
    with pytest.raises(StackFileError, match=r"requirements\.txt: fastapi==1\.0 has no hash.*--generate-hashes"):
        context_files(context, "Dockerfile")
