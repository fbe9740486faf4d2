# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What model_pull does when servers, disks and processes fail."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_fetch, _model_pull, _model_wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import Ended, HostPip
from ansible_collections.emorobcare.fleet.plugins.modules import model_pull
from ansible_collections.emorobcare.fleet.tests.faults._crash import LoopDisk, before_each_step, can_mount, killed_at
from ansible_collections.emorobcare.fleet.tests.faults._server import Answer, FaultServer

Run = t.Callable[..., "dict[str, t.Any]"]

CONTENT = random.Random(1).randbytes(300_000)
COLLECTIONS = Path(__file__).resolve().parents[2] / "collections"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wanted_file(source: str, content: bytes = CONTENT, path: str = "model.bin") -> dict[str, t.Any]:
    return {"path": path, "sha256": sha256(content), "size": len(content), "source": source}


def version_of(root: Path, version: str = "1") -> Path:
    return root / "models" / "speech" / version


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def task(root: Path, files: list[dict[str, t.Any]], **more: t.Any) -> _model_pull.Request:
    """Return a task for the code below the module, for processes that cannot afford Ansible."""
    params = {"name": "speech", "version": "1", "state": "present", "files": files, **more}
    return _model_pull.Request(str(root), _model_wanted.parse_wanted(params), _model_fetch.Settings(retries=0))


def no_commands(command: t.Sequence[str], _folder: str) -> Ended:
    raise AssertionError(f"nothing here needs {command}")


def pull(request: _model_pull.Request) -> _model_pull.Pulled:
    return _model_pull.pull(request, HostPip(no_commands))


@pytest.fixture(name="server")
def server_fixture() -> t.Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the module as Ansible would, without waiting between retries; return its JSON."""

    def run(*files: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
        args = {"name": "speech", "version": "1", "files": list(files), "root": str(tmp_path / "root")}
        with patch_module_args({**args, "retry_delay": 0, "retries": 2, **more}), pytest.raises(SystemExit):
            model_pull.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run


PASSING = [
    pytest.param(Answer(cut_after=100_000), id="cut short"),
    pytest.param(Answer(cut_after=0), id="cut before the first byte"),
    pytest.param(Answer(cut_after=100_000, no_length=True), id="cut short, without a length"),
    pytest.param(Answer(stall_after=100_000), id="stalled"),
    pytest.param(Answer(hang_up=True), id="closed without an answer"),
    pytest.param(Answer(status=429, headers={"Retry-After": "0"}), id="rate limit"),
    pytest.param(Answer(status=500), id="500"),
    pytest.param(Answer(status=503), id="503"),
    pytest.param(Answer(status=504), id="504"),
]


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_retried_and_the_version_published(
    fault: Answer, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    url = server.serve("/model.bin", CONTENT, fault, fault, Answer())
    result = run(wanted_file(url), timeout=0.2)
    assert result["changed"], result
    assert result["bytes_fetched"] == len(CONTENT)
    assert contents(version_of(tmp_path / "root")) == {"model.bin": CONTENT}
    assert not os.listdir(tmp_path / "root" / "store" / "partial")


def test_a_server_that_says_when_to_come_back_is_given_that_time(server: FaultServer, tmp_path: Path) -> None:
    busy = Answer(status=503, headers={"Retry-After": "17"})
    request = task(tmp_path / "root", [wanted_file(server.serve("/model.bin", CONTENT, busy, busy, Answer()))])
    waits: list[float] = []
    settings = _model_fetch.Settings(retries=2, sleep=waits.append)
    assert pull(dataclasses.replace(request, settings=settings)).outcome.bytes_fetched == len(CONTENT)
    assert waits == [17, 17]


LASTING = [
    # id, answer, requests made, reason, what the message says besides the file or its source
    pytest.param(Answer(cut_after=1234), 3, "truncated", ["1234 of 300000 bytes", "3 tries"], id="always cut short"),
    pytest.param(Answer(stall_after=9), 3, "unavailable", ["within timeout", "3 tries"], id="always stalled"),
    pytest.param(Answer(hang_up=True), 3, "unavailable", ["3 tries"], id="never an answer"),
    pytest.param(Answer(status=503), 3, "unavailable", ["503", "3 tries"], id="always 503"),
    pytest.param(Answer(status=404), 1, "unavailable", ["404", "is the URL right"], id="404"),
    pytest.param(Answer(status=403), 1, "unavailable", ["403", "expired"], id="403"),
    pytest.param(Answer(status=401), 1, "unavailable", ["401", "credentials"], id="401"),
    pytest.param(
        Answer(corrupt_at=200_000), 1, "digest_mismatch", ["300000 bytes", sha256(CONTENT)], id="a flipped byte"
    ),
    pytest.param(Answer(length=299_999), 1, "size_mismatch", ["300000", "299999"], id="claims less"),
    pytest.param(Answer(length=300_001), 1, "size_mismatch", ["300000", "300001"], id="claims more"),
    pytest.param(Answer(headers={"Content-Encoding": "gzip"}), 1, "unavailable", ["gzip"], id="compressed"),
    pytest.param(
        Answer(status=302, headers={"Location": "file:///etc/passwd"}), 1, "unavailable", ["not allowed"], id="to file"
    ),
    pytest.param(
        Answer(status=302, headers={"Location": "http://me:hunter2@127.0.0.1/"}),
        1,
        "unavailable",
        ["not followed", "http://***@127.0.0.1/"],
        id="to credentials",
    ),
]


@pytest.mark.parametrize(("fault", "requests", "reason", "says"), LASTING)
def test_a_fault_that_lasts_is_reported_and_nothing_is_kept(
    fault: Answer, requests: int, reason: str, says: list[str], server: FaultServer, run: Run, tmp_path: Path
) -> None:
    url = server.serve("/model.bin", CONTENT, fault)
    result = run(wanted_file(url), timeout=0.2)
    assert result["failed"]
    assert result["reason"] == reason, result["msg"]
    assert [text for text in ["/model.bin", *says] if text not in result["msg"]] == []
    assert len(server.requests) == requests
    store = tmp_path / "root" / "store"
    assert not version_of(tmp_path / "root").exists()
    assert os.listdir(store / "sha256") == os.listdir(store / "partial") == []


def test_the_next_run_after_a_lasting_fault_succeeds(server: FaultServer, run: Run, tmp_path: Path) -> None:
    url = server.serve("/model.bin", CONTENT, Answer(corrupt_at=0), Answer())
    assert run(wanted_file(url))["reason"] == "digest_mismatch"
    assert run(wanted_file(url))["changed"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": CONTENT}


def test_a_body_without_end_is_stopped_one_block_after_the_pinned_size(server: FaultServer, run: Run) -> None:
    endless = CONTENT * 100
    url = server.serve("/model.bin", endless, Answer(no_length=True))
    result = run(wanted_file(url))
    assert result["reason"] == "size_mismatch"
    assert "the source sends more" in result["msg"]
    assert server.requests[0].sent < len(endless)


def test_files_received_before_a_failure_are_not_fetched_again(server: FaultServer, run: Run, tmp_path: Path) -> None:
    good = wanted_file(server.serve("/good", b"good"), b"good", "good")
    bad = wanted_file(server.serve("/bad", b"bad", Answer(status=404), Answer()), b"bad", "bad")
    assert run(good, bad)["failed"]
    assert not version_of(tmp_path / "root").exists()
    result = run(good, bad)
    assert result["bytes_fetched"] == len(b"bad")
    assert [request.path for request in server.requests] == ["/good", "/bad", "/bad"]
    assert contents(version_of(tmp_path / "root")) == {"good": b"good", "bad": b"bad"}


def test_credentials_are_sent_shown_nowhere_and_do_not_follow_a_redirect_to_another_host(
    server: FaultServer, run: Run
) -> None:
    with FaultServer() as other:
        there = other.serve("/there", CONTENT)
        server.serve("/here", CONTENT, Answer(status=307, headers={"Location": "/moved"}))
        server.serve("/moved", CONTENT, Answer(status=308, headers={"Location": there}))
        result = run(wanted_file(f"http://robot:hunter2@{server.place}/here?token=s3cret"))
        assert [request.headers.get("Authorization") for request in server.requests] == [
            "Basic cm9ib3Q6aHVudGVyMg=="
        ] * 2
        assert [request.headers.get("Authorization") for request in other.requests] == [None]
    assert server.requests[0].path == "/here?token=s3cret"
    assert result["changed"]
    assert result["files"][0]["source"] == f"http://***@{server.place}/here?token=***"
    assert not [secret for secret in ("hunter2", "s3cret") if secret in json.dumps(result)]


def test_a_failure_shows_no_credentials(server: FaultServer, run: Run) -> None:
    result = run(wanted_file(f"http://robot:hunter2@{server.place}/gone?token=s3cret"))
    assert f"http://***@{server.place}/gone?token=***" in result["msg"]
    assert not [secret for secret in ("hunter2", "s3cret") if secret in json.dumps(result)]


def test_a_run_killed_in_the_middle_of_a_file_leaves_nothing_published_and_the_next_one_finishes(
    server: FaultServer, tmp_path: Path
) -> None:
    content = CONTENT * 100
    # More than the sockets in between can hold: when the server gets to its stall, some of it has been received.
    url = server.serve("/model.bin", content, Answer(stall_after=len(content) - 1), Answer())
    files = [wanted_file(url, content)]
    program = (
        "import json, sys\n"
        "from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_fetch as f, _model_pip as p\n"
        "from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_pull as m, _model_wanted as w\n"
        "m.pull(m.Request(sys.argv[1], w.parse_wanted(json.loads(sys.argv[2])), f.Settings()), p.HostPip(None))\n"
    )
    params = json.dumps({"name": "speech", "version": "1", "state": "present", "files": files})
    command = [sys.executable, "-c", program, str(tmp_path / "root"), params]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(COLLECTIONS)}) as process:
        assert server.stalled.wait(60), "the run never got to the stall"
        process.send_signal(signal.SIGKILL)
    server.release.set()
    assert os.listdir(tmp_path / "root" / "store" / "partial") == [f"{sha256(content)}.part"]
    assert not version_of(tmp_path / "root").exists()
    assert pull(task(tmp_path / "root", files)).outcome.bytes_fetched == len(content)
    assert contents(version_of(tmp_path / "root")) == {"model.bin": content}
    assert not os.listdir(tmp_path / "root" / "store" / "partial")


def test_of_two_runs_at_once_one_waits_and_fetches_nothing(server: FaultServer, tmp_path: Path) -> None:
    url = server.serve("/model.bin", CONTENT, Answer(stall_after=150_000))
    request = task(tmp_path / "root", [wanted_file(url)])
    results: list[_model_pull.Pulled] = []
    runs = [threading.Thread(target=lambda: results.append(pull(request))) for _run in range(2)]
    for thread in runs:
        thread.start()
    assert server.stalled.wait(60)
    server.release.set()
    for thread in runs:
        thread.join()
    assert sorted(result.outcome.bytes_fetched for result in results) == [0, len(CONTENT)]
    assert sorted(result.plan.changed for result in results) == [False, True]
    assert len(server.requests) == 1


def test_a_store_that_stays_locked_is_reported_with_who_holds_it(server: FaultServer, run: Run, tmp_path: Path) -> None:
    url = server.serve("/model.bin", CONTENT, Answer(stall_after=150_000))
    holder = threading.Thread(target=lambda: pull(task(tmp_path / "root", [wanted_file(url)])))
    holder.start()
    assert server.stalled.wait(60)
    result = run(wanted_file(url), lock_timeout=0)
    server.release.set()
    holder.join()
    assert result["reason"] == "locked"
    assert f"process {os.getpid()}" in result["msg"]


class Medium:
    """Files of the host to pull from, and what a whole version made of them holds."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.contents = {"model.bin": CONTENT[:70_000], "more/vocab.txt": b"a b c", "more/deep/copy.txt": b"a b c"}
        self.files = []
        for number, (path, content) in enumerate(self.contents.items()):
            (folder / str(number)).write_bytes(content)
            self.files.append(wanted_file(f"file://{folder}/{number}", content, path))

    def publish(self, root: Path) -> _model_pull.Pulled:
        return pull(task(root, self.files))

    def remove(self, root: Path) -> _model_pull.Pulled:
        return pull(task(root, [], state="absent"))


@pytest.fixture(name="medium")
def medium_fixture(tmp_path: Path) -> Medium:
    return Medium(tmp_path / "stick")


def test_killed_at_any_step_a_publication_is_nothing_or_whole_and_the_next_run_finishes(
    medium: Medium, tmp_path: Path
) -> None:
    step, killed = 0, True
    while killed:
        step += 1
        root = tmp_path / f"root{step}"
        killed = killed_at(step, functools.partial(medium.publish, root))
        if version_of(root).exists():
            assert contents(version_of(root)) == medium.contents, f"killed at step {step}"
        medium.publish(root)
        assert contents(version_of(root)) == medium.contents, f"killed at step {step}"
        again = medium.publish(root)
        assert (again.plan.action, again.bytes_read) == ("none", 0)
        assert os.listdir(root / "store" / "partial") == os.listdir(root / "store" / "staging") == []
    assert step > 40, "the steps were not seen, so nothing was tested"


def test_killed_at_any_step_a_removal_is_nothing_or_all_and_the_next_run_finishes(
    medium: Medium, tmp_path: Path
) -> None:
    step, killed = 0, True
    while killed:
        step += 1
        root = tmp_path / f"root{step}"
        medium.publish(root)
        killed = killed_at(step, functools.partial(medium.remove, root))
        if version_of(root).exists():
            assert contents(version_of(root)) == medium.contents, f"killed at step {step}"
        medium.remove(root)
        assert not version_of(root).exists()
        assert os.listdir(root / "store" / "sha256") == os.listdir(root / "store" / "staging") == []
        assert not medium.remove(root).plan.changed
    assert step > 10, "the steps were not seen, so nothing was tested"


def test_killed_at_any_step_a_repair_goes_on_in_the_next_run(medium: Medium, tmp_path: Path) -> None:
    step, killed = 0, True
    while killed:
        step += 1
        root = tmp_path / f"root{step}"
        medium.publish(root)
        published = version_of(root)
        (published / "model.bin").chmod(0o644)
        (published / "model.bin").write_bytes(b"rot" * 10)
        (published / "more" / "vocab.txt").unlink()
        (published / "stranger").write_bytes(b"?")
        killed = killed_at(step, functools.partial(medium.publish, root))
        medium.publish(root)
        assert contents(published) == medium.contents, f"killed at step {step}"
        assert not medium.publish(root).plan.changed
    assert step > 20, "the steps were not seen, so nothing was tested"


@pytest.fixture(name="disks")
def disks_fixture(tmp_path: Path) -> Path:
    if not can_mount(tmp_path):
        pytest.skip("needs root, mkfs.ext4 and loop devices")
    return tmp_path


def test_after_a_power_cut_at_any_step_the_disk_shows_nothing_or_a_whole_version(disks: Path, medium: Medium) -> None:
    pictures: list[Path] = []
    disk = LoopDisk(disks / "disk.img", 8 << 20)

    def take_picture(count: int) -> None:
        pictures.append(disks / f"cut{count}.img")
        disk.picture(pictures[-1])

    with disk as mount:
        with before_each_step(take_picture):
            medium.publish(mount / "root")
        take_picture(0)
    seen = set()
    for picture in pictures:
        with LoopDisk(picture) as mount:
            seen.add(version_of(mount / "root").exists())
            if version_of(mount / "root").exists():
                assert contents(version_of(mount / "root")) == medium.contents, picture.name
            medium.publish(mount / "root")
            assert contents(version_of(mount / "root")) == medium.contents, picture.name
    assert seen == {False, True}
    with LoopDisk(pictures[-1]) as mount:
        assert version_of(mount / "root").exists(), "it was reported as done before it was on the disk"


def test_a_disk_that_is_too_small_is_refused_before_the_first_byte(disks: Path, server: FaultServer, run: Run) -> None:
    content = bytes(6 << 20)
    url = server.serve("/model.bin", content)
    with LoopDisk(disks / "small.img", 4 << 20) as mount:
        for check_mode in (True, False):
            result = run(wanted_file(url, content), root=str(mount / "root"), _ansible_check_mode=check_mode)
            assert result["reason"] == "no_space"
            assert result["needed"] == len(content) + os.statvfs(mount).f_frsize  # the content and a folder
            assert result["mount"] == str(mount)
            assert f"{result['needed']} bytes" in result["msg"]
            assert f"{result['available']} bytes" in result["msg"]
            assert not (mount / "root").exists()
    assert server.requests == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_and_the_next_run_finishes(
    disks: Path, server: FaultServer
) -> None:
    content = random.Random(2).randbytes(2 << 20)
    url = server.serve("/model.bin", content, Answer(stall_after=1 << 20), Answer())
    with LoopDisk(disks / "small.img", 8 << 20) as mount:
        request = task(mount / "root", [wanted_file(url, content)])
        errors: list[ModelError] = []

        def pull_and_fail() -> None:
            try:
                pull(request)
            except ModelError as exc:
                errors.append(exc)

        thread = threading.Thread(target=pull_and_fail)
        thread.start()
        assert server.stalled.wait(60)
        filler = mount / "filler"
        with filler.open("wb") as file:
            free = os.statvfs(mount)
            os.posix_fallocate(file.fileno(), 0, (free.f_bavail - 16) * free.f_frsize)
        server.release.set()
        thread.join()
        assert [error.reason for error in errors] == ["no_space"]
        assert not os.listdir(mount / "root" / "store" / "partial")
        filler.unlink()
        assert pull(request).plan.changed
        assert contents(version_of(mount / "root")) == {"model.bin": content}


def test_on_a_read_only_disk_what_is_whole_passes_and_what_is_missing_is_refused(
    disks: Path, medium: Medium, run: Run
) -> None:
    disk = LoopDisk(disks / "disk.img", 8 << 20)
    with disk as mount:
        medium.publish(mount / "root")
        disk.remount("ro")
        root = str(mount / "root")
        assert run(*medium.files, root=root)["changed"] is False
        for check_mode in (True, False):
            result = run(*medium.files, root=root, version="2", _ansible_check_mode=check_mode)
            assert result["reason"] == "read_only"
