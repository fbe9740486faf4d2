# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The digest of everything that goes into an image: what is the same builds the same, wherever it is checked out."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical, digest
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import Problem, StackFileError, shown

_LARGEST_KEY = 1_000_000  # bytes; nothing larger is searched for private keys
_KEY = re.compile(
    rb"^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\s*$|^PuTTY-User-Key-File-\d|^AGE-SECRET-KEY-1", re.M
)
_KEY_NAME = re.compile(r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?")
_ENVIRONMENT_NAME = re.compile(r"\.env(\..+)?")
_HARMLESS_ENVIRONMENT_NAME = re.compile(r"\.env\.(example|sample|template|dist)")

_LOCK_NAME = "requirements.txt"
_CONTINUED = re.compile(r"\\\r?\n")


@dataclass(frozen=True)
class ContextFile:
    """A file of a build context: path below it with C(/), kind, and the content's SHA-256 or the link's target."""

    path: str
    kind: t.Literal["file", "executable", "link"]
    content: str


def image_input(files: t.Iterable[ContextFile], dockerfile: str, args: t.Mapping[str, str]) -> str:
    """Return the SHA-256 over an image's context, Dockerfile name and build arguments: 64 hex digits.

    Times, owners, the other permissions, folders as such and the place of the context do not count.
    """
    entries = sorted([file.path, file.kind, file.content] for file in files)
    return digest(canonical({"schema": 1, "dockerfile": dockerfile, "args": dict(args), "files": entries}))


def tag_of(input_: str) -> str:
    """Return the tag of an image with this input: 16 hex digits, so that no version takes another's reference."""
    return input_[:16]


def context_files(context: pathlib.Path, dockerfile: str) -> list[ContextFile]:
    """Return the files and links of a build context that its .dockerignore leaves, sorted by path.

    As for C(docker build), <dockerfile>.dockerignore counts before .dockerignore, and the Dockerfile is never left out.

    Raises:
        StackFileError: something in the context must not go into an image.
        OSError: something in the context cannot be read.
    """
    # Here and not above: it takes longer to load than most contexts to read.
    from docker.utils.build import exclude_paths

    problems: list[Problem] = []
    found: list[ContextFile] = []
    for path in sorted(exclude_paths(str(context), _ignore_patterns(context, dockerfile), dockerfile)):
        try:
            entry = _context_file(context / path, path)
        except _RefusedError as exc:
            problems.append(Problem(shown(context / path), None, (), str(exc)))
        else:
            found += [] if entry is None else [entry]
    if problems:
        raise StackFileError(problems)
    return found


def secret_fault(name: str, content: bytes) -> str:
    """Say why a file looks like a secret, by its name or content; an empty string when it does not."""
    if _ENVIRONMENT_NAME.fullmatch(name) and not _HARMLESS_ENVIRONMENT_NAME.fullmatch(name):
        return "an environment file holds secrets"
    if _KEY_NAME.fullmatch(name) or _KEY.search(content):
        return "it looks like a private key"
    return ""


class _RefusedError(Exception):
    """A file must not go into an image; the message is for the user."""


def _ignore_patterns(context: pathlib.Path, dockerfile: str) -> list[str]:
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        try:
            text = (context / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
        lines = (line.strip() for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]
    return []


def _context_file(path: pathlib.Path, name: str) -> ContextFile | None:
    """Describe one file; None for a folder, whose files speak for themselves."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise _RefusedError("its name is not UTF-8; rename it") from None
    info = path.lstat()
    if stat.S_ISDIR(info.st_mode):
        return None
    if stat.S_ISLNK(info.st_mode):
        return ContextFile(name, "link", os.readlink(path))
    if not stat.S_ISREG(info.st_mode):
        raise _RefusedError("it is neither a file nor a folder nor a link; add it to .dockerignore")
    digest, fault = _look_into(path, info.st_size)
    if fault:
        raise _RefusedError(fault)
    return ContextFile(name, "executable" if info.st_mode & stat.S_IXUSR else "file", digest)


def _look_into(path: pathlib.Path, size: int) -> tuple[str, str]:
    """Return the digest of a file and why it must not be there, if so."""
    if size > _LARGEST_KEY and path.name != _LOCK_NAME:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), _secret_refusal(path.name, b"")
    content = path.read_bytes()
    return digest(content), _secret_refusal(path.name, content) or lock_fault(path.name, content)


def _secret_refusal(name: str, content: bytes) -> str:
    fault = secret_fault(name, content)
    return f"{fault}; add it to .dockerignore, and give secrets to the build as build secrets" if fault else ""


def lock_fault(name: str, content: bytes) -> str:
    """Say which requirement of a pip lock file has no hash; an empty string when there is none."""
    if name != _LOCK_NAME:
        return ""
    joined = _CONTINUED.sub(" ", content.decode(errors="replace"))
    for line in joined.splitlines():
        text = line.strip()
        if text and not text.startswith(("#", "-")) and "--hash=" not in text:
            return (
                f"{text.split()[0]} has no hash, so that anything of that name could be installed; write the file with"
                " 'uv pip compile --generate-hashes', and keep what you edit in requirements.in"
            )
    return ""
