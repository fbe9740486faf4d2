# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on the measured host: one request as JSON on standard input, one answer on standard output.

    {"do": "enrol", "keys": F}                         make this host trust depots that the keys of F sign
    {"do": "write", "depot": F, "release": FILE, …}    as depot_write does it twice, with depot_sign between
    {"do": "verify", "depot": F}                       as depot_verify does it
    {"do": "bring", "depot": F, "root": F}             as depot_sync does it
    {"do": "hash", "depot": F}                         plain SHA-256 of all blobs, on all cores
    {"do": "shell", "script": "…"}                     by bash, whose pipes fail with any part

Each also takes `cold`, folders whose files the kernel is told to forget before; `into`, a folder in which the bytes of
new files are counted; `disk`, a folder on the file system whose used bytes are watched. They answer {seconds, written,
peak_extra, steps}: bytes beyond what is there in the end, and seconds of parts.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_bring, _depot_write
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_bring import Order
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import check_layout
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_gather import Wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import target_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_library import need_tuf
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_publish import publish
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import VERSION, Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import Enrolment, TrustPlaces, enrol
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import open_depot, read_release
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import verify
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_web import open_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import default_cli
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import (
    decode_files,
    digest,
    parse_document,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import sync_file_system
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_keys import key_names, open_signer, read_roots
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import publish as sign_targets
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_published import read_published, write_published

Answer = dict[str, t.Any]
Files = dict[str, tuple[int, int, int]]

EVERY = 0.005  # seconds between two looks at a disk
PIECE = 1 << 20
FLEET = "bench"


def used_bytes(folder: str) -> int:
    """Return the bytes that are used on a folder's file system."""
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


class Disk:
    """Watches the used bytes of a file system while the block runs.

    After it `extra` is the most that was used beyond what is in the end, and `grown` how much more that is than in the
    beginning: where the same work grows by other bytes than before, somebody else wrote to the disk as well.
    """

    def __init__(self, folder: str, used: t.Callable[[str], int] = used_bytes) -> None:
        self.extra = self.grown = 0
        self._folder = folder
        self._used = used
        self._start = self._peak = used(folder)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Disk:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._done.set()
        self._thread.join()
        sync_file_system(self._folder)  # space that was set aside and not needed is given back by then
        end = self._used(self._folder)
        self.extra, self.grown = max(self._peak - end, 0), end - self._start

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self._peak = max(self._peak, self._used(self._folder))


def files_of(folder: str) -> Files:
    """Return what tells a file below a folder from another one of its name: inode, time of change, bytes."""
    found: Files = {}
    for path in Path(folder).rglob("*"):
        if path.is_file():
            status = path.stat()
            found[str(path)] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def written(before: Files, after: Files) -> int:
    """Return the bytes of files that are new, or others than before."""
    return sum(entry[2] for path, entry in after.items() if before.get(path) != entry)


def forget(folders: t.Iterable[str]) -> None:
    """Have the kernel forget the content of files; it is on disk."""
    for folder in folders:
        sync_file_system(folder)
        for path in files_of(folder):
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(request: Answer, work: t.Callable[[Answer], Answer]) -> Answer:
    into, disk = request.get("into"), request.get("disk")
    before = files_of(into) if into else {}
    forget(request.get("cold") or ())
    with contextlib.ExitStack() as watching:
        watched = watching.enter_context(Disk(disk)) if disk else None
        started = time.monotonic()
        answer = work(request)
        answer.setdefault("seconds", time.monotonic() - started)
    answer["peak_extra"] = watched.extra if watched else 0
    answer["grown"] = watched.grown if watched else 0
    return {"steps": {}, "written": written(before, files_of(into)) if into else 0, **answer}


def write(request: Answer) -> Answer:
    """Write content and publish it; what signing between takes is left out."""
    told = json.loads(Path(request["release"]).read_text())["release"]
    release = parse_document(told["document"], told["id"])
    wanted = Wanted(
        release=release,
        files=decode_files(release, told["files"]),
        images=tuple(request["images"]),
        fleet=FLEET,
        architecture="amd64",
        minimum_version=VERSION,
        created=request["created"],
        root=request["root"],
    )
    os.makedirs(request["tmpdir"], exist_ok=True)
    task = _depot_write.Task(request["depot"], wanted, tmpdir=request["tmpdir"])
    steps: dict[str, float] = {}
    with timed(_depot_write, "gather", steps), timed(_depot_write, "carry_out", steps):
        started = time.monotonic()
        done = _depot_write.write_content(task)
        steps["content"] = time.monotonic() - started
    metadata = sign(Path(request["keys"]), done.plan.manifest)
    started = time.monotonic()
    publish(request["depot"], metadata, task.share)
    steps["publish"] = time.monotonic() - started
    manifest = done.plan.manifest
    told = {"counter": manifest.counter, "bytes": manifest.size}
    return {"seconds": steps["content"] + steps["publish"], "steps": steps, "release": told}


@contextlib.contextmanager
def timed(owner: t.Any, name: str, steps: dict[str, float]) -> t.Iterator[None]:
    """Note the seconds of each call of a module's function while the block lasts."""
    plain = getattr(owner, name)

    def call(*args: t.Any, **named: t.Any) -> t.Any:
        started = time.monotonic()
        result = plain(*args, **named)
        steps[name] = steps.get(name, 0.0) + time.monotonic() - started
        return result

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, plain)


def sign(keys: Path, manifest: Manifest) -> t.Mapping[str, bytes]:
    """Sign a release, if it is not signed yet; return the fleet's metadata."""
    roots, data = read_roots(keys), manifest.encode()
    known, file = read_published(keys, roots), (digest(data), len(data))
    name = target_name(manifest.stack, manifest.counter)
    if known.targets.get(name) != file:
        signers = [open_signer(keys, one) for one in key_names(keys) if not one.startswith("root")]
        write_published(keys, sign_targets(known.metadata, roots, {name: file}, [], signers, time.time()), data)
        known = read_published(keys, roots)
    return known.metadata


def enrol_host(request: Answer) -> Answer:
    """Enrol this host anew."""
    roots = read_roots(Path(request["keys"]))
    enrolment = Enrolment(FLEET, (), "bench", int(time.time()))
    enrol(TrustPlaces(), roots[max(roots)], enrolment, forget=True)
    return {}


def verify_depot(request: Answer) -> Answer:
    """Verify a depot; what checking its signatures takes is a step, and the seconds are those of reading all blobs."""
    began = time.monotonic()
    with contextlib.closing(open_source(request["depot"], None)) as source:
        trusted = open_depot(source, TrustPlaces(), time.time)
        pairs = [(stack, counter) for stack, counters in trusted.releases().items() for counter in counters]
        manifests = [read_release(source, trusted, *pair) for pair in pairs]
        started = time.monotonic()
        verify(source, manifests, check_layout(source), strict=True).check()
    return {"seconds": time.monotonic() - started, "steps": {"signatures": started - began}}


def hash_blobs(request: Answer) -> Answer:
    """Hash all blobs, the largest first, so that all cores are busy to the end."""
    blobs = sorted(Path(request["depot"], "blobs/sha256").iterdir(), key=lambda path: -path.stat().st_size)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        wrong = [
            path.name for path, sha256 in zip(blobs, pool.map(hash_file, blobs), strict=True) if sha256 != path.name
        ]
    if wrong:
        raise SystemExit(f"{wrong[0]} has other content than its name says")
    return {}


def hash_file(path: Path) -> str:
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(PIECE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return hasher.hexdigest()


def bring_release(request: Answer) -> Answer:
    steps: dict[str, float] = {}
    order = Order(request["depot"], request["root"])
    with timed(_depot_bring, "sync", steps), timed(_depot_bring, "pull_images", steps):
        brought = _depot_bring.bring(order, default_cli(), time.time)
    if not brought.complete or brought.pulled is None:
        raise SystemExit(f"{request['depot']} brought only a part")
    return {"steps": steps}


def run_script(request: Answer) -> Answer:
    argv = ["bash", "-o", "pipefail", "-c", request["script"]]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{request['script']} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return {}


WORKERS: dict[str, t.Callable[[Answer], Answer]] = {
    "enrol": enrol_host,
    "write": write,
    "verify": verify_depot,
    "hash": hash_blobs,
    "bring": bring_release,
    "shell": run_script,
}


def main() -> int:
    request = json.load(sys.stdin)
    need_tuf()
    print(json.dumps(measured(request, WORKERS[request["do"]])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
