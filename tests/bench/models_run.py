# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a case: every peer once untimed with small files, then all of them in turn, round after round."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.bench import models_data as data
from ansible_collections.emorobcare.fleet.tests.bench import models_process as process
from ansible_collections.emorobcare.fleet.tests.bench.models_cases import GIB, Case, Job, Served, warm_up
from ansible_collections.emorobcare.fleet.tests.bench.models_limits import measure_limits
from ansible_collections.emorobcare.fleet.tests.bench.models_peers import Peer, Tools, asked, read_back
from ansible_collections.emorobcare.fleet.tests.bench.models_report import Limit, Row, Sample, is_settled, multiplied
from ansible_collections.emorobcare.fleet.tests.bench.models_server import Server
from ansible_collections.emorobcare.fleet.tests.bench.models_setup import PATH

TIMEOUT = 300.0  # seconds for one run of one peer
TMPFS = Path("/dev/shm")

Say = t.Callable[[str], None]


class NotMeasured(Exception):
    """A peer could not do a case; its text says why."""


@dataclass
class Bench:
    """Where things are, and who takes part."""

    server: Server
    content: data.Data
    tools: Tools
    peers: t.Sequence[Peer]
    missing: t.Mapping[str, str]  # by what is needed: why it is not there
    work: Path  # emptied by each case
    repeat: int
    say: Say
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))


@dataclass
class Entry:
    """A peer in the running of a case. `whole` is the case's job, `job` is what this one does of it."""

    peer: Peer
    whole: Job
    job: Job
    samples: list[Sample] = field(default_factory=list)
    why_not: str = ""


def run_case(bench: Bench, case: Case) -> tuple[list[Row], Limit]:
    """Return a row for each peer that the case is for, and what the machine allows."""
    place = TMPFS / f"bench-models-{os.getpid()}" if case.tmpfs else bench.work
    try:
        fresh(bench.work)
        whole = job_for(bench, case, place)
        entries = [Entry(peer, whole, own_job(whole, peer)) for peer in bench.peers if peer.does(case)]
        if why_not := no_room(whole):
            return [row_of(dataclasses.replace(entry, why_not=why_not)) for entry in entries], Limit({})
        for entry in entries:
            attempt(bench, entry, rehearse)
        data.read_once(bench.content.path(file) for file in whole.files)
        if case.kind != "fetch":
            for file in whole.files:
                shutil.copy2(bench.content.path(file), reference(whole, file))
            for entry in entries:
                attempt(bench, entry, set_up)
        limits = run_rounds(bench, whole, entries)
    finally:
        for folder in (place, bench.work):
            shutil.rmtree(folder, ignore_errors=True)
    return [row_of(entry) for entry in entries], limits


def run_rounds(bench: Bench, whole: Job, entries: list[Entry]) -> Limit:
    """Run all in turn, so that what changes on the machine meanwhile changes for all; return the least limits."""
    limits: dict[str, float] = {}
    for number in range(bench.repeat):
        data.read_once(bench.content.path(file) for file in whole.files)
        os.sync()
        for part, seconds in measure_limits(whole, [reference(whole, file) for file in whole.files]).items():
            limits[part] = min(seconds, limits.get(part, seconds))
        for entry in (entry for entry in entries if not settled(entry, entries)):
            attempt(bench, entry, measure_once)
            told = f"not measured: {entry.why_not}" if entry.why_not else f"{entry.samples[-1].wall:.2f} s"
            bench.say(f"{whole.case.name}, round {number + 1} of {bench.repeat}, {entry.peer.name}: {told}")
    return Limit(limits)


def settled(entry: Entry, entries: t.Sequence[Entry]) -> bool:
    """Whether a peer is so much slower than ours that it needs no further round."""
    ours = next((other for other in entries if other.peer.name == entry.peer.against), entry)
    return is_settled([sample.wall for sample in entry.samples], [sample.wall for sample in ours.samples])


def attempt(bench: Bench, entry: Entry, work: t.Callable[[Bench, Entry], None]) -> None:
    """Do something for a peer that is still in the running; one that fails is out, and the others go on."""
    if entry.why_not:
        return
    try:
        for need in entry.peer.needs:
            if need in bench.missing:
                raise NotMeasured(bench.missing[need])
        work(bench, entry)
    except (NotMeasured, process.DidNotEnd) as exc:
        entry.why_not = str(exc)
    finally:
        process.end_strays(keep=[bench.server.pid])


def row_of(entry: Entry) -> Row:
    peer = entry.peer
    row = Row(peer.name, peer.against, why_not=entry.why_not, verifies=peer.verifies, durable=peer.durable)
    done, files = len(entry.job.files), len(entry.whole.files)
    if entry.why_not:
        return row
    if done == files:
        return dataclasses.replace(row, samples=tuple(entry.samples))
    samples = tuple(multiplied(sample, files / done) for sample in entry.samples)
    return dataclasses.replace(row, samples=samples, sampled=done)


# One run.


def measure_once(bench: Bench, entry: Entry) -> None:
    """Run a peer and keep what it took. Raises NotMeasured if it fails, or if not all files are there afterwards."""
    job = entry.job
    if job.case.kind == "verify" and not job.case.tmpfs:
        data.drop_from_memory(job.out)
    os.sync()  # what others wrote is not for this one to wait for
    before = process.cpu_of(bench.server.pid)
    ended = run_script(bench, entry.peer, job)
    server_cpu = process.cpu_of(bench.server.pid) - before
    if missing := data.missing_sizes(job.out, job.files):
        raise NotMeasured(f"it succeeded, but there is no file for {missing}")
    if job.case.kind == "fetch":
        clear(job)
    entry.samples.append(
        Sample(
            wall=ended.wall,
            user=ended.user,
            system=ended.system,
            server_cpu=server_cpu,
            peak_memory=ended.peak_memory,
            read=ended.read,
            read_from_disk=ended.read_from_disk,
            read_back=read_back(entry.peer, job, ended.read),
        )
    )


def run_script(bench: Bench, peer: Peer, job: Job) -> process.Ended:
    script = job.work / "run.sh"
    script.write_text(f"set -eu\n{peer.script(job, bench.tools)}\n")
    environment = {"PATH": PATH, "HOME": str(job.work), "LC_ALL": "C.UTF-8"}
    log = job.work / "log"
    ended = process.measure(process.Command(("sh", str(script)), environment, job.work), log, TIMEOUT)
    if ended.status != 0:
        words = last_words(log).replace(str(bench.tools.root), ".")
        raise NotMeasured(f"it ended with status {ended.status}: {words}")
    return ended


def last_words(log: Path) -> str:
    """Return the end of what a command printed, in one line."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 400, 0))
        return " ".join(file.read().decode(errors="replace").split()) or "it printed nothing"


# What goes before.


def job_for(bench: Bench, case: Case, folder: Path) -> Job:
    """Return the whole job; its `out` is where limits are measured and the reference copy is."""
    base = bench.server.base(case.tls)
    files = bench.content.files(case, base)
    job = Job(case, files, base, bench.server.authority, bench.work / "limits", folder / "limits", bench.cores)
    for made in (job.work, job.out):
        made.mkdir(parents=True, exist_ok=True)
    bench.server.offer(job)
    return job


def own_job(whole: Job, peer: Peer) -> Job:
    """Return the job in folders of the peer's own."""
    name = "".join(letter if letter.isalnum() else "-" for letter in peer.name)
    job = asked(peer, dataclasses.replace(whole, work=whole.work.parent / f"{name}.work", out=whole.out.parent / name))
    for folder in (job.work, job.out):
        fresh(folder)
    return job


def rehearse(bench: Bench, entry: Entry) -> None:
    """Run a peer once with small files, and read what it stored: who stores anything else is not measured."""
    folder = entry.whole.out.parent / "rehearsal"
    small = own_job(job_for(bench, warm_up(entry.job.case), folder), entry.peer)
    prepare(bench, entry.peer, small, [bench.content.path(file) for file in small.files], shutil.copy2)
    run_script(bench, entry.peer, small)
    if missing := data.missing_contents(small.out, small.files):
        raise NotMeasured(f"it succeeded, but there is no file with the content of {missing}")
    shutil.rmtree(folder, ignore_errors=True)


def set_up(bench: Bench, entry: Entry) -> None:
    """Bring about what a peer's case starts from."""
    stored = [reference(entry.whole, file) for file in entry.job.files]
    prepare(bench, entry.peer, entry.job, stored, os.link)


def prepare(
    bench: Bench, peer: Peer, job: Job, stored: t.Sequence[Path], put: t.Callable[[Path, Path], object]
) -> None:
    """Have a peer's files be there already, where the case wants that: out of `stored`, or fetched by itself."""
    if job.case.kind == "fetch":
        return
    if peer.own_store:
        run_script(bench, peer, dataclasses.replace(job, case=dataclasses.replace(job.case, kind="fetch")))
        return
    for file, path in zip(job.files, stored):
        put(path, job.out / file.path)


def reference(whole: Job, file: Served) -> Path:
    """Return where the copy of a file is that peers without a store of their own share by links."""
    return whole.out / f"reference-{file.path}"


def fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def clear(job: Job) -> None:
    """Give back the disk that a job's files take, and leave it an empty folder.

    Where they are many, their inodes stay until the case ends: ext4 looks through all that were deleted within the
    last minutes for each file that it makes, so that whoever is next would pay a millisecond a file for it.
    """
    if job.case.many_small:
        for path in job.out.rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod(0o600)
                os.truncate(path, 0)
        job.out.rename(Path(tempfile.mkdtemp(prefix="cleared-", dir=job.out.parent)) / job.out.name)
    fresh(job.out)


def no_room(job: Job) -> str:
    """Return why a case cannot be run here; empty if it can."""
    if job.case.tmpfs:
        free = memory_available()
        need = 3 * job.case.bytes + GIB  # what is served, the reference copy and the store of ours
        return f"{need >> 20} MiB of memory are needed, {free >> 20} MiB are free" if free < need else ""
    free = shutil.disk_usage(job.out).free
    need = 4 * job.case.bytes + GIB
    return f"{need >> 20} MiB of disk are needed, {free >> 20} MiB are free" if free < need else ""


def memory_available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
