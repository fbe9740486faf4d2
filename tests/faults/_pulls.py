# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the fault tests of model_pull pull, how they run it, and how they look at what came of it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import subprocess
import sys
import types
import typing as t
from pathlib import Path

from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_fetch, _model_growth, _model_pull
from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_ranges as ranges
from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_transfer as transfer
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import Ended, HostPip
from ansible_collections.emorobcare.fleet.plugins.modules import model_pull
from ansible_collections.emorobcare.fleet.tests.faults._answers import Answer

Result = dict[str, t.Any]
Run = t.Callable[..., Result]
Setting = tuple[object, str, t.Any]  # an attribute of a module, and its value

COLLECTIONS = Path(__file__).resolve().parents[2] / "collections"
PATIENCE = 60.0  # seconds until a test gives up waiting for something to happen

# Chunks, and the blocks that they are received in, are that many times smaller where a test asks for `small_chunks`:
# with real ones, files of several chunks take too long for hundreds of runs.
SCALE = 256
CHUNK = ranges.CHUNK // SCALE
BLOCK = transfer.BLOCK // SCALE

SMALL = random.Random(1).randbytes(BLOCK - 1)  # received as a whole
LARGE = random.Random(2).randbytes(2 * CHUNK + 30_001)  # received in three chunks, the last one short

_CHILD = f"from {__name__} import run_as_child; run_as_child()"


@functools.lru_cache(maxsize=64)
def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wanted_file(*sources: str, content: bytes = SMALL, path: str = "model.bin", **more: t.Any) -> dict[str, t.Any]:
    where = {"source": sources[0]} if len(sources) == 1 else {"sources": list(sources)}
    return {"path": path, "sha256": sha256(content), "size": len(content), **where, **more}


def version_of(root: Path, version: str = "1") -> Path:
    return root / "models" / "speech" / version


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_over(root: Path) -> list[str]:
    """What an unfinished run has left for the next one."""
    return sorted(os.listdir(root / "store" / "partial")) if (root / "store").exists() else []


def resumable(content: bytes) -> list[str]:
    """What may be left over of a file that is on its way."""
    return [f"{sha256(content)}.log", f"{sha256(content)}.part"]


def logged(root: Path, digest: str) -> set[int]:
    """The chunks that the log of an unfinished file claims."""
    log = root / "store" / "partial" / f"{digest}.log"
    lines = [json.loads(line) for line in log.read_text().split("\n")[:-1]] if log.exists() else []
    return {line[1] for line in lines if line[0] == "chunk"}


def gone(root: Path, content: bytes, chunks: set[int]) -> Answer:
    """A 404 that comes when these chunks are on the disk: what is in memory goes with a run that fails."""
    return Answer(status=404, when=lambda: logged(root, sha256(content)) >= chunks)


def small_chunks() -> t.Iterator[Setting]:
    """Yield what makes chunks and blocks small, wherever they are named."""
    prefix = _model_pull.__name__.rpartition(".")[0]
    real = {"CHUNK": ranges.CHUNK, "BLOCK": transfer.BLOCK}
    for module in [module for name, module in sys.modules.items() if name.startswith(prefix)]:
        yield from ((module, name, size // SCALE) for name, size in real.items() if getattr(module, name, None) == size)


def eagerness() -> t.Iterator[Setting]:
    """Yield what has connections added at once, instead of when seconds have shown that the network is what limits."""
    yield from ((_model_fetch, "_TICK", 1e-2), (_model_growth, "_TRIAL", 1e-3), (_model_growth, "_GAIN", 0.0))


def pull(root: Path, *files: dict[str, t.Any], **more: t.Any) -> _model_pull.Pulled:
    """Pull in this process and without Ansible around it: for threads, forks and a patched module os.

    Raises:
        ModelError: as the module would fail.
    """
    options = {name: option.get("default") for name, option in model_pull.ARGUMENT_SPEC.items()}
    task = {"name": "speech", "version": "1", "files": list(files), "root": str(root), "retries": 0, **more}
    module: t.Any = types.SimpleNamespace(params={**options, **task}, check_mode=False)
    return _model_pull.pull(model_pull.request(module), HostPip(_no_commands))


def _no_commands(command: t.Sequence[str], _folder: str) -> Ended:
    raise AssertionError(f"nothing here needs {command}")


def start(root: Path, *files: dict[str, t.Any], mode: str = "", **more: t.Any) -> subprocess.Popen[bytes]:
    """Run the module as a process of its own, which can be killed. `mode` is "", "small_chunks" or "eagerness"."""
    args = {"name": "speech", "version": "1", "files": list(files), "root": str(root), "retry_delay": 0, **more}
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
    )
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(json.dumps(args).encode())
    return process


def run_as_child() -> None:
    """What a started process does."""
    modes: dict[str, t.Callable[[], t.Iterator[Setting]]] = {"small_chunks": small_chunks, "eagerness": eagerness}
    for module, name, value in [*modes[sys.argv[1]]()] if sys.argv[1] else []:
        setattr(module, name, value)
    with patch_module_args(json.load(sys.stdin)):
        model_pull.main()


def ended(process: subprocess.Popen[bytes]) -> Result | None:
    """Wait for a started module; return its result, or None if it was killed."""
    assert process.stdout is not None
    with process, process.stdout as stdout:
        printed = stdout.read()
    return t.cast("Result", json.loads(printed)) if process.returncode >= 0 else None
