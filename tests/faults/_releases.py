# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stacks of real containers for the tests of releases.

The images are made of this machine's own Python, so that neither a registry nor an archive is needed. Whatever a test
makes is named fleet-test-<random> and removed again; the base image stays, as a cache.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.modules import stack_release

PYTHON = os.path.realpath(t.cast(str, getattr(sys, "_base_executable", sys.executable)))
PATIENCE = 120.0  # seconds until a test gives up waiting for something to happen

RUN_MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emorobcare.fleet.plugins.modules.stack_release import main
with patch_module_args(json.load(sys.stdin)):
    main()
"""

# A service for tests: answers with its settings, and can be told to misbehave.
SERVER = """
import http.server, json, os, sys, time
MODE = os.environ.get("MODE", "good")
STATE = "/data/starts"
print("password is", open("/run/secrets/key").read() if os.path.exists("/run/secrets/key") else "none", flush=True)
if MODE == "dies":
    print("cannot go on", file=sys.stderr, flush=True)
    sys.exit(7)
if MODE == "recovers":
    starts = os.path.getsize(STATE) if os.path.exists(STATE) else 0
    with open(STATE, "a") as file:
        file.write("x")
    if starts < 1:
        sys.exit(1)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        model = open("/models/tiny/weights").read() if os.path.exists("/models/tiny/weights") else None
        answer = {"mode": MODE, "text": os.environ.get("TEXT"), "model": model, "vector": [1, 2, 3]}
        body = json.dumps(answer).encode()
        self.send_response(500 if MODE == "broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""

Result = dict[str, t.Any]


def docker(*words: str, check: bool = True, content: bytes | None = None) -> str:
    done = subprocess.run(["docker", *words], input=content, capture_output=True, check=False)
    assert done.returncode == 0 or not check, f"docker {' '.join(words)}: {done.stderr.decode()}"
    return done.stdout.decode().strip()


def python_tree() -> bytes:
    """A root file system with this machine's Python and the libraries it links, as a tar."""
    stdlib = sysconfig.get_path("stdlib")
    extensions = [str(path) for path in Path(stdlib, "lib-dynload").glob("*.so") if "tkinter" not in path.name]
    linked = subprocess.run(["ldd", PYTHON, *extensions], capture_output=True, text=True, check=True).stdout
    libraries = set(re.findall(r"(/\S+)(?= \(0x)", linked))
    unwanted = ("test", "site-packages", "dist-packages", "idlelib", "tkinter", "lib2to3", "ensurepip", "pydoc_data")

    def wanted(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        part = f"/{info.name}"[len(stdlib) + 1 :].partition("/")[0]
        return None if part in unwanted or part.startswith("config-") else info

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        tar.add(PYTHON)
        for library in sorted(libraries):
            tar.add(library)
        tar.add(stdlib, filter=wanted)
    return buffer.getvalue()


def server(image: str, **more: t.Any) -> dict[str, t.Any]:
    """A Compose service that runs SERVER."""
    return {
        "image": image,
        "command": [PYTHON, "-S", "-c", SERVER.replace("$", "$$")],
        "stop_signal": "SIGKILL",
        **more,
    }


def job(image: str, code: str = "print('loaded')") -> dict[str, t.Any]:
    return {"image": image, "command": [PYTHON, "-S", "-c", code]}


def http(path: str = "/", **more: t.Any) -> dict[str, t.Any]:
    return {"http": {"port": 8000, "path": path, **more}}


@dataclass
class Lab:
    """A stack of its own on the engine, with folders of its own."""

    root: Path
    image: str
    stack: str = field(default_factory=lambda: f"fleet-test-{secrets.token_hex(4)}")

    @property
    def base(self) -> Path:
        return self.root / "fleet" / "stacks" / self.stack

    @property
    def secrets(self) -> Path:
        return self.root / "secrets" / self.stack

    def release(
        self,
        services: dict[str, dict[str, t.Any]],
        gates: dict[str, dict[str, t.Any]] | None = None,
        timeout: float = 20.0,
        files: dict[str, bytes] | None = None,
        compose: dict[str, t.Any] | None = None,
        **document: t.Any,
    ) -> dict[str, t.Any]:
        """The module's options for a release with these services."""
        content = json.dumps({"services": services, **(compose or {})}).encode()
        contents = {"compose.yml": content, **(files or {})}
        gates = gates or {}
        whole = {
            "schema": 1,
            "stack": self.stack,
            "environment": "test",
            "compose": ["compose.yml"],
            "files": {path: hashlib.sha256(data).hexdigest() for path, data in contents.items()},
            "images": {},
            "models": [],
            "services": {name: {"lifecycle": "stateless", **gates.get(name, {})} for name in services},
            "parameters": {},
            "secrets": {},
            "rollout": {"success_threshold": 2, "gate_timeout": timeout},
            **document,
        }
        canonical = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return {
            "release": whole,
            "id": hashlib.sha256(canonical).hexdigest(),
            "files": {path: base64.b64encode(data).decode() for path, data in contents.items()},
        }

    def arguments(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"root": str(self.root / "fleet"), "secrets_root": str(self.root / "secrets"), **options}

    def start(self, options: dict[str, t.Any], program: str = RUN_MODULE, *arguments: str) -> subprocess.Popen[bytes]:
        """Run the module as a process of its own, which can be killed."""
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(json.dumps(self.arguments(options)).encode())
        return process

    def run(self, options: dict[str, t.Any]) -> Result:
        return run_module(stack_release.main, self.arguments(options))

    def deploy(self, options: dict[str, t.Any], **more: t.Any) -> Result:
        result = self.run({**options, **more})
        assert not result.get("failed"), result["msg"]
        return result

    def refused(self, options: dict[str, t.Any], reason: str, **more: t.Any) -> Result:
        result = self.run({**options, **more})
        assert result.get("failed"), result
        assert result["reason"] == reason, result["msg"]
        return result

    def journal(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.base / "state.json").read_text()))

    def containers(self, **more: t.Any) -> dict[str, dict[str, t.Any]]:
        ids = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.stack}").split()
        found = json.loads(docker("container", "inspect", *ids)) if ids else []
        return {item["Config"]["Labels"]["com.docker.compose.service"]: item for item in found}

    def ids(self) -> dict[str, str]:
        return {name: item["Id"] for name, item in self.containers().items()}

    def kill_in(self, options: dict[str, t.Any], phase: str) -> None:
        """Deploy, and kill the module (not its children) as soon as the journal says this phase."""
        process = self.start(options)
        wait_for(lambda: (self.base / "state.json").exists() and self.journal()["phase"] == phase)
        process.kill()
        process.wait()
        assert self.journal()["phase"] == phase

    def remove(self) -> None:
        self.run({"stack": self.stack, "state": "absent", "data": True})


def run_module(main: t.Callable[[], None], arguments: dict[str, t.Any]) -> Result:
    """Run a module as Ansible would; return its JSON."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as printed,
        patch_module_args(arguments),
        pytest.raises(SystemExit),
    ):
        main()
    return t.cast(Result, json.loads(printed.getvalue()))


def wait_for(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def fill(path: Path) -> None:
    """Write until the file system is full."""
    with path.open("wb", 0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    assert os.statvfs(path).f_bavail == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return t.cast(int, probe.getsockname()[1])


def base_image() -> str:
    """Return an image with a Python and nothing else, made where it is missing."""
    content = hashlib.sha256(Path(PYTHON).read_bytes()).hexdigest()[:12]
    reference = f"emorobcare.fleet/test-base:{content}"
    if not docker("image", "ls", "--quiet", reference):
        label = "LABEL org.emorobcare.fleet.test=base"
        docker("image", "import", "--change", label, "-", reference, content=python_tree())
    return reference
