# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who fetches, and how each one is told to: command lines and the files that these read."""

from __future__ import annotations

import dataclasses
import json
import shlex
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.bench.models_cases import Case, Job, Served

OURS = "model_pull"
OURS_WHOLE = "model_pull, whole ansible run"
GET_URL_SAMPLE = 10  # of many small files, so many are fetched by get_url, which needs a process for each
PARALLEL = ["--parallel", "--parallel-max", "8"]
# The fastest on loopback of 1, 2, 4, 8 and 16 connections, pieces of 1 to 512 MiB, mmap or not, falloc or none.
ARIA = ["--max-connection-per-server=4", "--split=4", "--min-split-size=1M", "--file-allocation=falloc"]
ARIA += ["--enable-mmap=true", "--max-concurrent-downloads=8", "--no-conf", "--quiet", "--summary-interval=0"]
HUB = """\
import sys
import huggingface_hub
repo, revision, folder = sys.argv[1:]
huggingface_hub.snapshot_download(repo, revision=revision, cache_dir=folder, max_workers=8)
"""


@dataclass(frozen=True)
class Tools:
    """What is used of this machine."""

    python: Path  # of the environment that Ansible is in
    hub_python: Path  # of the environment that huggingface_hub is in
    root: Path  # of the checkout


Script = t.Callable[[Job, Tools], str]


@dataclass(frozen=True)
class Peer:
    """One way to do a case. `script` writes what it needs into the job's `work` and returns shell commands."""

    name: str
    script: Script
    does: t.Callable[[Case], bool]
    needs: tuple[str, ...] = ()  # commands
    against: str = OURS
    verifies: bool = True
    durable: bool = False
    own_store: bool = False  # keeps files in a way of its own, so that only itself can put them there
    sample: int = 0  # so many of many small files are fetched, and the figures multiplied; 0: all of them
    # Its program takes from plain sockets, or from those with TLS, by read(2), which is counted as if it were a file.
    reads_plain: bool = False
    reads_tls: bool = False
    maps: bool = False  # reads large files back through a mapping, which is not counted: once, to verify them


def lines(*commands: t.Sequence[str]) -> str:
    return "\n".join(shlex.join(command) for command in commands)


def put(job: Job, name: str, content: str) -> str:
    path = job.work / name
    path.write_text(content)
    return str(path)


def downloaded(job: Job) -> list[str]:
    return [str(job.out / file.path) for file in job.files]


# Verifying, as one does who has a list of digests.


def openssl(job: Job, *, at_once: bool = False) -> str:
    """Digest what was downloaded, and compare with the pins; by a process, or by one for each core."""
    pins = put(job, "pins", "".join(sorted(f"{file.sha256} *{job.out / file.path}\n" for file in job.files)))
    names, count = downloaded(job), job.cores if at_once else 1
    shares = {str(job.work / f"digests-{start}"): names[start::count] for start in range(min(count, len(names)))}
    digest = [
        f"{lines(['openssl', 'dgst', '-sha256', '-r', *share])} >{shlex.quote(told)} &"
        for told, share in shares.items()
    ]
    compare = f"{lines(['sort', *shares])} | {lines(['cmp', '-', pins])}"
    return "\n".join([*digest, "wait", f"LC_ALL=C {compare}"])


def verify_openssl(job: Job, _tools: Tools) -> str:
    return openssl(job)


def verify_sha256sum(job: Job, _tools: Tools) -> str:
    sums = put(job, "sums", "".join(f"{file.sha256}  {job.out / file.path}\n" for file in job.files))
    return lines(["sha256sum", "--check", "--quiet", sums])


# Fetching.


def curl_fetch(job: Job, *more: str) -> str:
    pairs = "".join(f'url = "{file.url}"\noutput = "{job.out / file.path}"\n' for file in job.files)
    config = put(job, "curl.conf", pairs)
    return lines(["curl", "-q", "--fail", "--no-progress-meter", "--cacert", str(job.ca), *more, "--config", config])


def curl(job: Job, _tools: Tools) -> str:
    again = ["--time-cond", downloaded(job)[0]] if job.case.kind == "again" else []
    return f"{curl_fetch(job, *again)}\n{openssl(job)}"


def curl_sync(job: Job, _tools: Tools) -> str:
    return "\n".join([curl_fetch(job), lines(["sync", "-f", downloaded(job)[-1]]), openssl(job)])


def curl_parallel(job: Job, _tools: Tools) -> str:
    return f"{curl_fetch(job, *PARALLEL)}\n{openssl(job, at_once=True)}"


def curl_parallel_sync(job: Job, _tools: Tools) -> str:
    sync = lines(["sync", "-f", downloaded(job)[-1]])
    return "\n".join([curl_fetch(job, *PARALLEL), sync, openssl(job, at_once=True)])


def curl_parallel_unverified(job: Job, _tools: Tools) -> str:
    return curl_fetch(job, *PARALLEL)


def wget(job: Job, _tools: Tools) -> str:
    urls = put(job, "urls", "".join(f"{file.url}\n" for file in job.files))
    again = ["--timestamping"] if job.case.kind == "again" else []
    words = ["wget", "--no-config", "--no-verbose", "--no-hsts", f"--ca-certificate={job.ca}", *again]
    return f"{lines([*words, f'--directory-prefix={job.out}', f'--input-file={urls}'])}\n{openssl(job)}"


def aria2c(job: Job, _tools: Tools) -> str:
    listed = put(
        job,
        "aria2c.list",
        "".join(f"{file.url}\n  out={file.path}\n  checksum=sha-256={file.sha256}\n" for file in job.files),
    )
    again = ["--continue=true", "--check-integrity=true"] if job.case.kind == "again" else []
    return lines(["aria2c", *ARIA, *again, f"--ca-certificate={job.ca}", f"--dir={job.out}", f"--input-file={listed}"])


def hub(job: Job, tools: Tools) -> str:
    settings = {
        "HF_ENDPOINT": job.base,
        "HF_HOME": str(job.work / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "SSL_CERT_FILE": str(job.ca),
    }
    words = [str(tools.hub_python), put(job, "hub.py", HUB), job.repo, job.commit, str(job.out)]
    return lines(["env", *(f"{name}={value}" for name, value in settings.items()), *words])


# Modules: as a process each, and by a whole run of Ansible with everything around it.


def pull_arguments(job: Job) -> dict[str, t.Any]:
    files = [{"path": file.path, "sha256": file.sha256, "size": file.size, "source": file.url} for file in job.files]
    state = {"state": "verified"} if job.case.kind == "verify" else {}
    return {"name": "bench", "version": "1", "root": str(job.out), "files": files, **state}


def get_url_arguments(job: Job, file: Served) -> dict[str, t.Any]:
    return {"url": file.url, "dest": str(job.out / file.path), "checksum": f"sha256:{file.sha256}"}


def module(job: Job, tools: Tools, name: str, arguments: dict[str, t.Any], args_name: str) -> list[str]:
    """Return the command that runs a module's file as a process, with its arguments in JSON."""
    args = put(job, args_name, json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    settings = [f"PYTHONPATH={tools.root / 'collections'}", f"SSL_CERT_FILE={job.ca}"]
    return ["env", *settings, str(tools.python), "-m", name, args]


def play(job: Job, tools: Tools, tasks: list[dict[str, t.Any]]) -> str:
    """Return the command that runs tasks on this machine by ansible-playbook."""
    variables = {"ansible_python_interpreter": str(tools.python)}
    document = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]
    settings = [f"ANSIBLE_CONFIG={tools.root / 'ansible.cfg'}", f"ANSIBLE_HOME={job.work / 'ansible'}"]
    settings += [
        f"SSL_CERT_FILE={job.ca}",
        "ANSIBLE_LOCALHOST_WARNING=false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING=false",
    ]
    playbook = put(job, "play.json", json.dumps(document))
    return lines(["env", *settings, str(tools.python.parent / "ansible-playbook"), playbook])


def pull(job: Job, tools: Tools) -> str:
    name = "ansible_collections.emorobcare.fleet.plugins.modules.model_pull"
    return lines(module(job, tools, name, pull_arguments(job), "pull.json"))


def pull_whole(job: Job, tools: Tools) -> str:
    return play(job, tools, [{"name": "Pull", "emorobcare.fleet.model_pull": pull_arguments(job)}])


def get_url(job: Job, tools: Tools) -> str:
    return lines(
        *(
            module(job, tools, "ansible.modules.get_url", get_url_arguments(job, file), f"get_url-{index}.json")
            for index, file in enumerate(job.files)
        )
    )


def get_url_whole(job: Job, tools: Tools) -> str:
    return play(
        job, tools, [{"name": "Get", "ansible.builtin.get_url": get_url_arguments(job, file)} for file in job.files]
    )


def fetches_one_or_small(case: Case) -> bool:
    """Several large files are synced by the row that fetches them at once; this one would only be slower."""
    return case.kind == "fetch" and (case.count == 1 or case.many_small)


def several(case: Case) -> bool:
    return case.kind == "fetch" and case.count > 1


def needs_server(case: Case) -> bool:
    return case.kind != "verify"


def verifies(case: Case) -> bool:
    return case.kind == "verify"


def verifies_on_disk(case: Case) -> bool:
    return case.kind == "verify" and not case.tmpfs


def everything(_case: Case) -> bool:
    return True


def in_whole_runs(case: Case) -> bool:
    return case.whole_runs


def not_in_memory(case: Case) -> bool:
    return not case.tmpfs


PEERS = (
    Peer(OURS, pull, everything, durable=True, own_store=True, reads_tls=True),
    Peer(OURS_WHOLE, pull_whole, in_whole_runs, against=OURS_WHOLE, durable=True, own_store=True, reads_tls=True),
    Peer("curl, openssl", curl, needs_server, ("curl",)),
    Peer("curl, sync, openssl", curl_sync, fetches_one_or_small, ("curl",), durable=True),
    Peer("curl --parallel, openssl on all cores", curl_parallel, several, ("curl",)),
    Peer("curl --parallel, sync, openssl on all cores", curl_parallel_sync, several, ("curl",), durable=True),
    Peer("curl --parallel, unverified", curl_parallel_unverified, several, ("curl",), verifies=False),
    Peer("wget, openssl", wget, needs_server, ("wget",), reads_plain=True),
    Peer("aria2c", aria2c, needs_server, ("aria2c",), maps=True),
    Peer("get_url", get_url, not_in_memory, sample=GET_URL_SAMPLE, reads_tls=True),
    Peer(
        "get_url, whole ansible run",
        get_url_whole,
        in_whole_runs,
        against=OURS_WHOLE,
        sample=GET_URL_SAMPLE,
        reads_tls=True,
    ),
    Peer(
        "huggingface_hub, unverified",
        hub,
        needs_server,
        ("huggingface_hub",),
        verifies=False,
        own_store=True,
        reads_tls=True,
    ),
    Peer("openssl dgst", verify_openssl, verifies),
    Peer("sha256sum", verify_sha256sum, verifies_on_disk),
)


def asked(peer: Peer, job: Job) -> Job:
    """Return the job that the peer is given: the whole one, or a part where each file takes it a process."""
    if not peer.sample or not job.case.many_small or len(job.files) <= peer.sample:
        return job
    case = dataclasses.replace(job.case, count=peer.sample)
    return dataclasses.replace(job, case=case, files=job.files[: peer.sample])


def read_back(peer: Peer, job: Job, read: int) -> int:
    """Return how many bytes a peer read from its files, of which the kernel counted `read`, sockets with it."""
    if job.case.kind != "fetch":
        return read
    from_sockets = job.case.bytes if (peer.reads_tls if job.case.tls else peer.reads_plain) else 0
    from_mappings = job.case.bytes if peer.maps and not job.case.many_small else 0
    return max(read - from_sockets, 0) + from_mappings
