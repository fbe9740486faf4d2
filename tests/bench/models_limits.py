# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the machine allows: copying from the server, hashing, writing durably and reading, each by itself. Seconds."""

from __future__ import annotations

import hashlib
import mmap
import os
import socket
import ssl
import subprocess
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.emorobcare.fleet.tests.bench.models_cases import MIB, Job

BLOCK = 4 * MIB
AT_ONCE = (1, 4)  # how many threads write or read; the faster one counts


def measure_limits(job: Job, stored: t.Sequence[Path]) -> dict[str, float]:
    """Return the seconds of each part; `stored` are the case's files on disk, for what reads them."""
    case = job.case
    if case.kind == "again":
        return {}
    workers = 1 if case.kind == "fetch" and case.count == 1 else job.cores
    parts = {"hash": hash_in_memory(case.bytes, workers)}
    if case.kind == "fetch":
        parts["copy"] = min(copy_by_curl(job), copy_by_recv(job))
        parts["write"] = min(write_durably(job.out / "limit", case.bytes, threads) for threads in AT_ONCE)
    elif not case.tmpfs:
        parts["read"] = min(read_from_disk(stored, threads) for threads in AT_ONCE)
    return parts


def timed(work: t.Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def on_threads(work: t.Callable[[int], object], threads: int) -> float:
    """Run `work` on so many threads, each given its number."""
    with ThreadPoolExecutor(threads) as pool:
        return timed(lambda: list(pool.map(work, range(threads))))


def hash_in_memory(size: int, threads: int) -> float:
    """SHA-256 of `size` bytes: each thread hashes its share, a block of random bytes again and again."""
    block = memoryview(os.urandom(min(16 * MIB, size)))

    def work(number: int) -> None:
        digest = hashlib.sha256()
        for start in range(number * len(block), size, threads * len(block)):
            digest.update(block[: min(len(block), size - start)])
        digest.digest()

    return on_threads(work, threads)


def copy_by_curl(job: Job) -> float:
    """Fetch all files into nothing by curl: one after the other, and at once, on one connection or more."""
    config = job.work / "limit.curl"
    config.write_text("".join(f'url = "{file.url}"\noutput = "/dev/null"\n' for file in job.files))
    argv = ["curl", "-q", "--fail", "--no-progress-meter", "--cacert", str(job.ca), "--config", str(config)]
    ways = [[], ["--parallel", "--parallel-max", "8"]] if len(job.files) > 1 else [[]]
    return min(timed(lambda way=way: subprocess.run([*argv, *way], check=True)) for way in ways)  # type: ignore[misc]


def copy_by_recv(job: Job) -> float:
    """Fetch all files into nothing over one connection by recv_into."""
    where = urlsplit(job.base)
    plain = socket.create_connection((where.hostname, where.port))
    buffer = memoryview(bytearray(BLOCK))
    with plain if where.scheme == "http" else wrapped(plain, job) as connection:
        return timed(lambda: discard_all(connection, job, buffer))


def wrapped(connection: socket.socket, job: Job) -> ssl.SSLSocket:
    return ssl.create_default_context(cafile=str(job.ca)).wrap_socket(connection, server_hostname="127.0.0.1")


def discard_all(connection: socket.socket, job: Job, buffer: memoryview) -> None:
    for file in job.files:
        discard(connection, file.url, file.size, buffer)


def discard(connection: socket.socket, url: str, size: int, buffer: memoryview) -> None:
    """Ask for a file and receive it; raises RuntimeError if it is not that many bytes."""
    connection.sendall(f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    head, end, body = b"", b"", b""
    while not end:
        head, end, body = (head + connection.recv(4096)).partition(b"\r\n\r\n")
    if b" 200 " not in head.splitlines()[0]:
        raise RuntimeError(f"the server answered {head.splitlines()[0]!r} to {url}")
    left = size - len(body)
    while left:
        got = connection.recv_into(buffer)
        if got == 0:
            raise RuntimeError(f"the server closed {left} bytes before the end of {url}")
        left -= got


def write_durably(path: Path, size: int, threads: int) -> float:
    """Write so many bytes into a new file past the page cache, and sync it: seconds until they are on disk."""
    block = aligned(os.urandom(BLOCK))
    whole = -(-size // BLOCK) * BLOCK

    def work(number: int) -> None:
        for start in range(number * BLOCK, whole, threads * BLOCK):
            os.pwrite(handle, block, start)

    def write() -> None:
        os.posix_fallocate(handle, 0, whole)
        on_threads(work, threads)
        os.fsync(handle)

    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DIRECT, 0o600)
    try:
        return timed(write)
    finally:
        os.close(handle)
        path.unlink()


def read_from_disk(paths: t.Sequence[Path], threads: int) -> float:
    """Read files past the page cache."""

    def read(path: Path) -> float:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECT)
        size = os.fstat(handle).st_size

        def work(number: int) -> None:
            buffer = mmap.mmap(-1, BLOCK)
            for start in range(number * BLOCK, size, threads * BLOCK):
                os.preadv(handle, [buffer], start)

        try:
            return on_threads(work, threads)
        finally:
            os.close(handle)

    return sum(read(path) for path in paths)


def aligned(content: bytes) -> mmap.mmap:
    """Return the bytes where a page begins, as writing past the page cache wants them."""
    block = mmap.mmap(-1, len(content))
    block.write(content)
    return block
