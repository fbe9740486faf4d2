# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import random
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder, check_layout, read_blob
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import BLOBS
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_sync import SyncRequest, sync
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import verify
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_web import WebSource, open_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Retry
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store
from ansible_collections.emorobcare.fleet.tests.faults._pulls import gone
from ansible_collections.emorobcare.fleet.tests.faults._server import HANG_UP, Answer, FaultServer
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_content import (
    Content,
    Depot,
    noise,
    sha256,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._web import Asked, Reply, Web

BIG = noise(3 << 20)


@pytest.fixture(name="server")
def server_fixture(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[FaultServer]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with FaultServer() as server:
        yield server


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot", Content(models={"1": {"model.bin": BIG}}))


def base(server: FaultServer) -> str:
    return server.serve("/fleet/depot/", b"a listing").rstrip("/")


def publish(server: FaultServer, folder: Path, **faults: Answer | list[Answer]) -> str:
    """Serve a depot's files; faults by digest, or by name with _ for what Python does not allow."""
    for path in folder.rglob("*"):
        if path.is_file():
            fault = faults.get(path.name, [])
            answers = fault if isinstance(fault, list) else [fault]
            server.serve(f"/fleet/depot/{path.relative_to(folder)}", path.read_bytes(), *answers)
    return base(server)


@contextlib.contextmanager
def web(url: str, retries: int = 2, **network: t.Any) -> t.Iterator[WebSource]:
    source = WebSource(url, Network(**network), Retry(retries), sleep=lambda _seconds: None)
    try:
        yield source
    finally:
        source.close()


def blob(depot: Depot) -> str:
    return depot.manifest.models[0].files["model.bin"]


def test_a_depot_behind_a_web_server_is_read_as_one_in_a_folder(server: FaultServer, depot: Depot) -> None:
    folder = Folder(str(depot.folder))
    with web(publish(server, depot.folder)) as source:
        assert check_layout(source) == check_layout(folder)
        assert source.read("metadata/timestamp.json", 10) == b"{}"
        for digest, data in depot.blobs.items():
            assert source.blob_size(digest) == len(data)
            assert b"".join(source.pieces(digest)) == data
        assert read_blob(source, depot.manifest.release, 100) == depot.content.release
        assert verify(source, [depot.manifest]).problems == ()


def test_a_file_that_is_not_there_is_none(server: FaultServer, depot: Depot) -> None:
    url = publish(server, depot.folder)
    with web(url) as source:
        assert source.read("metadata/2.root.json", 10) is None
        assert source.blob_size("0" * 64) is None
        with pytest.raises(DepotError) as caught:
            list(source.pieces("0" * 64))
    assert caught.value.reason == "blob_missing"


@pytest.mark.parametrize("start", [0, 1, 999_999, 1_000_000, 1_000_001, len(BIG) - 1, len(BIG)])
def test_a_blob_in_parts_is_read_as_one_from_any_byte(server: FaultServer, depot: Depot, start: int) -> None:
    depot.split(blob(depot), 1_000_000)
    with web(publish(server, depot.folder)) as source:
        assert source.blob_size(blob(depot)) == len(BIG)
        assert b"".join(source.pieces(blob(depot), start)) == BIG[start:]


def test_a_rest_is_asked_for_as_a_range(server: FaultServer, depot: Depot) -> None:
    with web(publish(server, depot.folder)) as source:
        before = server.sent
        assert b"".join(source.pieces(blob(depot), len(BIG) - 10)) == BIG[-10:]
        assert server.sent - before == 10


BODY_FAULTS: list[t.Any] = [
    pytest.param(Answer(cut_at=0), id="cut before the first byte"),
    pytest.param(Answer(cut_at=1), id="cut after one byte"),
    pytest.param(Answer(cut_at=2_000_000), id="cut in the middle"),
    pytest.param(Answer(cut_at=len(BIG) - 1), id="cut before the last byte"),
    pytest.param(Answer(cut_at=1_500_000, ranges=False), id="cut, and no ranges"),
    pytest.param(Answer(status=503, head=True), id="overloaded"),
]


@pytest.mark.parametrize("fault", BODY_FAULTS)
def test_what_a_server_breaks_off_is_gone_on_with(server: FaultServer, depot: Depot, fault: Answer) -> None:
    then = Answer(ranges=fault.ranges)
    url = publish(server, depot.folder, **{blob(depot): [fault, then]})
    with web(url) as source:
        assert b"".join(source.pieces(blob(depot))) == BIG


def test_a_connection_that_is_cut_again_and_again_is_given_up_with_words(server: FaultServer, depot: Depot) -> None:
    url = publish(server, depot.folder, **{blob(depot): Answer(cut_at=100)})
    with web(url) as source, pytest.raises(DepotError) as caught:
        list(source.pieces(blob(depot)))
    assert caught.value.reason == "unavailable"
    assert f"{url}/{BLOBS}/{blob(depot)}" in str(caught.value)
    assert "ended after 100 of" in str(caught.value)
    assert "goes on from here" in str(caught.value)


def test_a_connection_that_brings_something_each_time_is_not_given_up(server: FaultServer, depot: Depot) -> None:
    cuts = [Answer(cut_at=at) for at in range(1 << 20, len(BIG), (1 << 20) + 1)]
    url = publish(server, depot.folder, **{blob(depot): [*cuts, Answer()]})
    with web(url, retries=1) as source:
        assert b"".join(source.pieces(blob(depot))) == BIG


def test_a_server_that_falls_silent_is_not_waited_for_for_ever(server: FaultServer, depot: Depot) -> None:
    url = publish(server, depot.folder, **{blob(depot): Answer(stall_after=1000)})
    with web(url, retries=0, stall_timeout=0.1) as source, pytest.raises(DepotError) as caught:
        list(source.pieces(blob(depot)))
    assert caught.value.reason == "unavailable"
    server.release.set()


STATUSES = [(401, "credentials"), (403, "forbids"), (500, "500"), (503, "503")]


@pytest.mark.parametrize(("status", "said"), STATUSES)
@pytest.mark.parametrize("ask", ["read", "blob_size", "pieces"])
def test_a_server_that_refuses_is_no_depot_without_the_file(
    server: FaultServer, depot: Depot, status: int, said: str, ask: str
) -> None:
    """None would be taken for an older root, or a blob that was not copied."""
    url = base(server)
    server.serve("/fleet/depot/metadata/2.root.json", b"{}", Answer(status=status))
    server.serve(f"/fleet/depot/{BLOBS}/{blob(depot)}", BIG, Answer(status=status))
    asks: dict[str, t.Callable[[WebSource], object]] = {
        "read": lambda source: source.read("metadata/2.root.json", 100),
        "blob_size": lambda source: source.blob_size(blob(depot)),
        "pieces": lambda source: list(source.pieces(blob(depot))),
    }
    with web(url) as source, pytest.raises(DepotError) as caught:
        asks[ask](source)
    assert caught.value.reason == "unavailable"
    assert said in str(caught.value)
    assert f"is {url} the depot's own folder" in str(caught.value)


def test_a_server_that_is_not_there_is_named(server: FaultServer) -> None:
    url = base(server)
    server.serve("/fleet/depot/oci-layout", b"", HANG_UP)
    with web(url) as source, pytest.raises(DepotError) as caught:
        source.read("oci-layout", 100)
    assert caught.value.reason == "unavailable"
    assert f"{url}/oci-layout" in str(caught.value)
    assert "3 tries" in str(caught.value)


@pytest.mark.parametrize(
    "fault", [Answer(), Answer(no_length=True), Answer(chunked=True)], ids=["told", "untold", "chunked"]
)
def test_a_small_file_that_is_too_large_is_refused(server: FaultServer, fault: Answer) -> None:
    url = base(server)
    server.serve("/fleet/depot/depot.json", bytes(5_000_000), fault)
    with web(url) as source, pytest.raises(DepotError) as caught:
        source.read("depot.json", 1000)
    assert caught.value.reason == "blob_corrupt"
    assert server.sent < 4_000_000


@pytest.mark.parametrize("fault", [Answer(cut_at=3), Answer(more=4)], ids=["cut short", "a length that lies"])
def test_half_a_small_file_is_none_at_all(server: FaultServer, fault: Answer) -> None:
    url = base(server)
    server.serve("/fleet/depot/depot.json", b"0123456789", fault)
    with web(url) as source, pytest.raises(DepotError) as caught:
        source.read("depot.json", 1000)
    assert caught.value.reason == "unavailable"


def test_a_server_that_does_not_say_how_large_a_blob_is_is_refused(server: FaultServer, depot: Depot) -> None:
    url = publish(server, depot.folder, **{blob(depot): Answer(no_length=True, ranges=False)})
    with web(url) as source, pytest.raises(DepotError, match="Content-Length") as caught:
        source.blob_size(blob(depot))
    assert caught.value.reason == "unavailable"


def test_a_blob_whose_length_changes_between_two_requests_is_refused(server: FaultServer, depot: Depot) -> None:
    with web(publish(server, depot.folder)) as source:
        assert source.blob_size(blob(depot)) == len(BIG)
        server.serve(f"/fleet/depot/{BLOBS}/{blob(depot)}", BIG + b"more")
        with pytest.raises(DepotError, match=f"{len(BIG) + 4} bytes by now") as caught:
            list(source.pieces(blob(depot)))
    assert caught.value.reason == "blob_corrupt"


def test_a_redirect_within_the_web_is_followed_and_no_other(depot: Depot, server: FaultServer) -> None:
    target = publish(server, depot.folder)

    def answer(asked: Asked) -> Reply:
        to = f"file://{depot.folder}" if asked.path.endswith("depot.json") else target
        return Reply(302, headers={"Location": f"{to}{asked.path}"})

    with Web(answer) as mirror, web(mirror.url) as source:
        assert read_blob(source, depot.manifest.release, 100) == depot.content.release
        with pytest.raises(DepotError) as caught:
            source.read("depot.json", 1000)
    assert caught.value.reason == "unavailable"
    assert "not followed" in str(caught.value)


def test_credentials_in_the_url_are_sent_and_never_shown(depot: Depot) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(200, b"{}") if asked.authorization == "Basic cm9ib3Q6c2VjcmV0" else Reply(401)

    with Web(answer) as server:
        with web(f"http://robot:secret@{server.place}/d") as source:
            assert source.read("oci-layout", 10) == b"{}"
            assert "secret" not in source.shown
        with web(f"http://robot:wrong@{server.place}/d") as source, pytest.raises(DepotError) as caught:
            source.read("oci-layout", 10)
    assert "wrong" not in str(caught.value).replace("wrong ", "")


BAD = [
    "https://",
    "http://host/depot?token=x",
    "http://host/depot#x",
    "relative/folder",
    "ftp://host/depot",
    "",
    "depot",
]


@pytest.mark.parametrize("depot", BAD)
def test_what_is_neither_a_folder_nor_a_url_is_refused(depot: str) -> None:
    with pytest.raises(DepotError) as caught:
        open_source(depot)
    assert caught.value.reason == "invalid"


def test_an_absolute_path_is_a_folder_and_a_url_the_web(tmp_path: Path) -> None:
    assert open_source(f"{tmp_path}/").shown == str(tmp_path)
    source = open_source("https://host/depot/")
    assert isinstance(source, WebSource)
    assert source.shown == "https://host/depot"
    source.close()


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    source = open_source("https://127.0.0.1:9/depot", ca_path=str(tmp_path / "none.pem"))
    with pytest.raises(DepotError, match=r"none\.pem") as caught:
        source.read("oci-layout", 10)
    assert caught.value.reason == "invalid"
    source.close()


def test_a_sync_over_the_web_goes_on_where_a_cut_one_was(server: FaultServer, tmp_path: Path) -> None:
    big = random.Random(7).randbytes(40 << 20)
    depot = Depot(tmp_path / "depot", Content(models={"1": {"model.bin": big}}))
    digest, root = sha256(big), str(tmp_path / "root")
    url = publish(server, depot.folder)
    name = f"/fleet/depot/{BLOBS}/{digest}"
    server.serve(name, big, Answer(cut_at=36 << 20), gone(tmp_path / "root", big, {0}))
    request = SyncRequest(depot.manifest, root)
    with web(url) as source, pytest.raises(DepotError) as caught:
        sync(source, request)
    assert caught.value.reason == "unavailable"
    assert not Path(Store(root).blob(digest)).exists()
    server.serve(name, big)
    before = server.sent
    with web(url) as source:
        done = sync(source, request)
    assert done.published == ("speech/1",)
    assert done.bytes_copied + done.bytes_resumed == len(big)
    assert server.sent - before == done.bytes_copied < len(big)
    assert Path(root, "models", "speech", "1", "model.bin").read_bytes() == big


def test_a_server_that_flips_a_bit_is_found_out(server: FaultServer, depot: Depot, tmp_path: Path) -> None:
    url = publish(server, depot.folder, **{blob(depot): Answer(corrupt_at=5)})
    with web(url) as source:
        assert [problem.kind for problem in verify(source, [depot.manifest]).problems] == ["content"]
        with pytest.raises(DepotError) as caught:
            sync(source, SyncRequest(depot.manifest, str(tmp_path / "root")))
    assert caught.value.reason == "blob_corrupt"
    assert "model.bin of model speech 1" in str(caught.value)
    assert not Path(Store(str(tmp_path / "root")).blob(blob(depot))).exists()


def test_waiting_between_tries_grows(depot: Depot, server: FaultServer) -> None:
    waited: list[float] = []
    url = publish(server, depot.folder)
    server.serve("/fleet/depot/oci-layout", b"", Answer(status=503))
    source = WebSource(url, Network(), Retry(3, 1.0), sleep=waited.append)
    with pytest.raises(DepotError):
        source.read("oci-layout", 10)
    source.close()
    assert len(waited) == 3
    assert all(0.5 * 2**n <= seconds <= 2**n for n, seconds in enumerate(waited))
