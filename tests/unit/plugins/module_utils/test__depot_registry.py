# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import ssl
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_registry
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_registry import Listen, Registry, serving
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_routes import EMPTY_SHA256
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_oci import OciOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import OciSource
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._served_depot import Depot, ask

LAYER = bytes(range(256)) * 20_000  # several pieces


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    depot = Depot(tmp_path / "depot")
    depot.add_image("emo/api:1", LAYER, b"second")
    depot.add_model("Tiny", "1", {"sub/weights": b"weights" * 1000, "config.json": b'{"a":1}'})
    return depot


@pytest.fixture(name="join")
def join_fixture() -> t.Callable[[], None]:
    """Waits until all connections that this test has made have ended, and fails if one does not."""
    before = set(threading.enumerate())

    def join() -> None:
        for thread in set(threading.enumerate()) - before:
            if thread.name != "depot registry":
                thread.join(20)
                assert not thread.is_alive()

    return join


def blob(depot: Depot, number: int = 0) -> str:
    return f"/v2/emo/api/blobs/sha256:{depot.images[0].layers[number]}"


def test_the_whole_of_an_image_can_be_had_by_tag_and_by_digest(depot: Depot) -> None:
    image = depot.images[0]
    with serving(depot.source, [depot.manifest]) as registry:
        base = ask(registry.place, "/v2/")
        assert (base.status, base.headers["docker-distribution-api-version"]) == (200, "registry/2.0")
        for name in ("1", f"sha256:{image.manifest}"):
            manifest = ask(registry.place, f"/v2/emo/api/manifests/{name}")
            assert manifest.body == depot.blob(image.manifest).read_bytes()
            assert manifest.headers["content-type"] == "application/vnd.oci.image.manifest.v1+json"
            assert manifest.headers["docker-content-digest"] == f"sha256:{image.manifest}"
        assert ask(registry.place, blob(depot)).body == LAYER
        assert ask(registry.place, f"/v2/emo/api/blobs/sha256:{image.config}").status == 200
        assert registry.served == len(LAYER) + depot.sizes[image.config]
        assert registry.trouble is None


@pytest.mark.parametrize(
    "path", ["/v2/", "/v2/emo/api/manifests/1", "/v2/emo/api/tags/list", "blob", "/v2/no/tags/list"]
)
def test_head_tells_what_get_would_and_sends_nothing(depot: Depot, path: str) -> None:
    path = blob(depot) if path == "blob" else path
    with serving(depot.source, [depot.manifest]) as registry:
        got, told = ask(registry.place, path), ask(registry.place, path, "HEAD")
        assert (told.status, told.body) == (got.status, b"")
        assert told.headers["content-length"] == str(len(got.body))
        assert {**told.headers, "date": ""} == {**got.headers, "date": ""}


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=0-", 206, LAYER),
        ("bytes=100-199", 206, LAYER[100:200]),
        ("bytes=2000000-", 206, LAYER[2_000_000:]),
        ("bytes=-5", 206, LAYER[-5:]),
        ("bytes=1-2,4-5", 200, LAYER),
    ],
)
def test_a_blob_can_be_had_in_ranges(depot: Depot, asked: str, status: int, body: bytes) -> None:
    with serving(depot.source, [depot.manifest]) as registry:
        answer = ask(registry.place, blob(depot), Range=asked)
        assert (answer.status, answer.body) == (status, body)
        assert ask(registry.place, blob(depot), Range=f"bytes={len(LAYER)}-").status == 416


def test_a_blob_in_parts_is_served_as_one(depot: Depot) -> None:
    path = depot.blob(depot.images[0].layers[0])
    content = path.read_bytes()
    path.unlink()
    for number, start in enumerate(range(0, len(content), 3_000_000)):
        path.with_name(f"{path.name}.p{number:04d}").write_bytes(content[start : start + 3_000_000])
    with serving(depot.source, [depot.manifest]) as registry:
        assert ask(registry.place, blob(depot)).body == LAYER
        assert ask(registry.place, blob(depot), Range="bytes=2999990-3000009").body == LAYER[2_999_990:3_000_010]


def test_what_is_in_the_depot_and_no_trusted_release_names_is_never_given_out(depot: Depot) -> None:
    release = depot.manifest
    stray = depot.add_image("emo/api:2", b"not signed")
    with serving(depot.source, [release]) as registry:
        for kind, sha256 in (("blobs", stray.layers[0]), ("blobs", stray.config), ("manifests", stray.manifest)):
            assert ask(registry.place, f"/v2/emo/api/{kind}/sha256:{sha256}").status == 404
        assert ask(registry.place, "/v2/emo/api/manifests/2").code == "MANIFEST_UNKNOWN"
        assert ask(registry.place, f"/v2/emo/api/blobs/sha256:{release.release}").code == "BLOB_UNKNOWN"


def test_a_manifest_that_was_changed_is_not_sent(depot: Depot) -> None:
    image = depot.images[0]
    release = depot.manifest
    depot.flip(image.manifest)
    with serving(depot.source, [release]) as registry:
        answer = ask(registry.place, "/v2/emo/api/manifests/1")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
        assert registry.trouble is not None
        assert (registry.trouble.reason, registry.trouble.details) == ("blob_corrupt", {"blob": image.manifest})


@pytest.mark.parametrize("asked", [None, "bytes=0-"])
def test_a_blob_with_a_flipped_bit_is_never_sent_to_its_end(depot: Depot, asked: str | None) -> None:
    release = depot.manifest
    depot.flip(depot.images[0].layers[0])
    with serving(depot.source, [release]) as registry:
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(registry.place, blob(depot), **({"Range": asked} if asked else {}))
        assert len(caught.value.partial) < len(LAYER)
        assert registry.trouble is not None
        assert registry.trouble.reason == "blob_corrupt"
        assert ask(registry.place, blob(depot, 1)).body == b"second", "the rest is served on"


def test_a_small_blob_with_a_flipped_bit_is_not_sent_at_all(depot: Depot) -> None:
    release = depot.manifest
    depot.flip(depot.images[0].layers[1])
    with serving(depot.source, [release]) as registry, pytest.raises(http.client.IncompleteRead) as caught:
        ask(registry.place, blob(depot, 1))
    assert caught.value.partial == b""


def test_a_blob_of_another_size_and_one_that_is_missing_are_refused_before_a_byte_is_sent(depot: Depot) -> None:
    release = depot.manifest
    first, second = (depot.blob(sha256) for sha256 in depot.images[0].layers)
    first.write_bytes(LAYER[:-1])
    second.unlink()
    with serving(depot.source, [release]) as registry:
        for number in (0, 1):
            answer = ask(registry.place, blob(depot, number))
            assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
            assert "rite " in answer.body.decode(), "it says what to do"
        assert registry.trouble is not None
        assert registry.trouble.reason == "blob_corrupt", "the first trouble is the one that is told"


class Pulled(Folder):
    """A stick that is pulled after the first piece."""

    def pieces(self, sha256: str, start: int = 0) -> t.Iterator[bytes]:
        yield from itertools.islice(super().pieces(sha256, start), 1)
        raise DepotError("the stick was pulled", reason="io_error")


def test_a_stick_that_is_pulled_cuts_the_answer_and_is_told(depot: Depot) -> None:
    with serving(Pulled(str(depot.path)), [depot.manifest]) as registry:
        with pytest.raises(http.client.IncompleteRead):
            ask(registry.place, blob(depot))
        assert str(registry.trouble) == "the stick was pulled"


class Shrinking(Folder):
    """A blob that becomes shorter once its size was told."""

    def pieces(self, sha256: str, start: int = 0) -> t.Iterator[bytes]:
        yield from itertools.islice(super().pieces(sha256, start), 1)


def test_a_blob_that_becomes_shorter_is_not_taken_for_whole(depot: Depot) -> None:
    with serving(Shrinking(str(depot.path)), [depot.manifest]) as registry:
        for asked in ("bytes=0-", "bytes=1-"):
            with pytest.raises(http.client.IncompleteRead):
                ask(registry.place, blob(depot), Range=asked)
        assert registry.trouble is not None
        assert registry.trouble.reason == "blob_corrupt"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_writing_is_refused_and_the_connection_ends(depot: Depot, method: str) -> None:
    with serving(depot.source, [depot.manifest]) as registry:
        connection = http.client.HTTPConnection(registry.place, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, "/v2/emo/api/blobs/uploads/", body=b"GET /v2/ HTTP/1.1\r\n\r\n")
            answer = connection.getresponse()
            assert answer.status == (501 if method == "BREW" else 405)
            assert answer.headers["Connection"] == "close"
            assert json.loads(answer.read())["errors"][0]["code"] == "UNSUPPORTED"


def test_a_connection_is_kept_for_the_next_request(depot: Depot) -> None:
    with serving(depot.source, [depot.manifest]) as registry:
        connection = http.client.HTTPConnection(registry.place, timeout=20)
        with contextlib.closing(connection):
            ports = set()
            for path in ("/v2/", blob(depot), "/v2/no/tags/list", blob(depot, 1)):
                connection.request("GET", path)
                assert connection.sock is not None
                ports.add(connection.sock.getsockname())
                connection.getresponse().read()
            assert len(ports) == 1


def talk(place: str, sent: bytes) -> bytes:
    """Send bytes; return all that comes until the server closes."""
    host, _colon, port = place.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(sent)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HTTP/1.0 400"),  # no end of line will ever come
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 414"),
        (b"GET /v2/ HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"HTTP/1.1 431"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /v2/ HTTP/7.0\r\n\r\n", b"HTTP/1.1 505"),
    ],
)
def test_what_is_no_request_is_answered_at_once_and_hung_up_on(depot: Depot, sent: bytes, answer: bytes) -> None:
    with serving(depot.source, [depot.manifest]) as registry:
        assert talk(registry.place, sent).startswith(answer)
        assert ask(registry.place, "/v2/").status == 200


def test_a_body_is_not_taken_for_the_next_request(depot: Depot) -> None:
    hidden = b"GET /v2/emo/api/tags/list HTTP/1.1\r\n\r\n"
    with serving(depot.source, [depot.manifest]) as registry:
        for told in (b"Content-Length: %d" % len(hidden), b"Transfer-Encoding: chunked"):
            answer = talk(registry.place, b"GET /v2/ HTTP/1.1\r\n" + told + b"\r\n\r\n" + hidden)
            assert answer.count(b"HTTP/1.1 ") == 1


def test_a_client_that_is_stuck_in_its_request_is_hung_up_on(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depot_registry, "_HEAD_LIMIT", 0.2)
    with serving(depot.source, [depot.manifest]) as registry:
        assert talk(registry.place, b"") == b""
        assert talk(registry.place, b"GET /v2/ HT") == b""
        assert talk(registry.place, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n") == b""


def test_a_client_that_does_not_read_is_hung_up_on(
    depot: Depot, monkeypatch: pytest.MonkeyPatch, join: t.Callable[[], None]
) -> None:
    monkeypatch.setattr(_depot_registry, "_SEND_LIMIT", 0.2)
    large = depot.add_image("emo/large:1", bytes(32 << 20)).layers[0]
    with serving(depot.source, [depot.manifest]) as registry:
        host, _colon, port = registry.place.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(f"GET /v2/emo/large/blobs/sha256:{large} HTTP/1.1\r\n\r\n".encode())
            assert connection.recv(12) == b"HTTP/1.1 200"
            join()
        assert registry.trouble is None, "nothing is wrong with the depot"


def test_more_connections_than_there_is_room_for_are_hung_up_on(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depot_registry, "_CONNECTIONS", 2)
    with serving(depot.source, [depot.manifest]) as registry, contextlib.ExitStack() as stack:
        kept = [http.client.HTTPConnection(registry.place, timeout=20) for _number in range(2)]
        for connection in kept:
            stack.callback(connection.close)
            connection.request("GET", "/v2/")
            assert connection.getresponse().read() == b"{}"
        assert talk(registry.place, b"") == b""
        kept[0].request("GET", "/v2/")
        assert kept[0].getresponse().status == 200


def test_stopping_cuts_who_still_reads_and_frees_the_port(depot: Depot, join: t.Callable[[], None]) -> None:
    large = depot.add_image("emo/large:1", bytes(64 << 20)).layers[0]
    with contextlib.ExitStack() as stack:
        with serving(depot.source, [depot.manifest]) as registry:
            reader = http.client.HTTPConnection(registry.place, timeout=20)
            stack.callback(reader.close)
            reader.request("GET", f"/v2/emo/large/blobs/sha256:{large}")
            answer = reader.getresponse()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        join()  # nothing of it reads the stick any more
        with serving(depot.source, [depot.manifest], Listen(port=registry.server_address[1])) as again:
            assert again.place == registry.place


def test_a_request_is_logged_only_if_that_is_wanted(depot: Depot, capsys: pytest.CaptureFixture[str]) -> None:
    for verbose, count in ((False, 0), (True, 1)):
        with serving(depot.source, [depot.manifest], verbose=verbose) as registry:
            ask(registry.place, "/v2/emo/api/tags/list")
        assert capsys.readouterr().err.count("/v2/emo/api/tags/list") == count


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ({"address": "0.0.0.0"}, "give a certificate"),
        ({"address": "192.0.2.1", "port": 5000}, "give a certificate"),
        ({"address": "::"}, "give a certificate"),
        ({"address": "robot.lan"}, "no IP address"),
        ({"port": 70000}, "not between"),
        ({"certificate": "x.pem"}, "both"),
        ({"key": "x.pem"}, "both"),
    ],
)
def test_where_others_could_read_along_it_does_not_listen_without_tls(listen: dict[str, t.Any], message: str) -> None:
    with pytest.raises(DepotError, match=message) as caught:
        Listen(**listen)
    assert caught.value.reason == "invalid"


def test_an_address_that_is_taken_is_told(depot: Depot) -> None:
    with serving(depot.source, [depot.manifest]) as registry:
        taken = registry.server_address[1]
        with pytest.raises(DepotError, match=rf"cannot listen on 127.0.0.1 port {taken}") as caught:
            Registry(depot.source, [depot.manifest], Listen(port=taken))
        assert caught.value.reason == "io_error"


def test_everybody_may_be_served_where_that_was_said(depot: Depot) -> None:
    with serving(depot.source, [depot.manifest], Listen("0.0.0.0", insecure=True)) as registry:
        assert ask(f"127.0.0.1:{registry.server_address[1]}", "/v2/").status == 200


@pytest.fixture(name="certificate")
def certificate_fixture(tmp_path: Path) -> tuple[str, str]:
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subject = ["-subj", "/CN=depot", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*argv, *subject, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


def test_with_a_certificate_it_speaks_tls_and_nothing_older_than_1_2(
    depot: Depot, certificate: tuple[str, str], join: t.Callable[[], None]
) -> None:
    listen = Listen("0.0.0.0", 0, *certificate)
    with serving(depot.source, [depot.manifest], listen) as registry:
        assert registry.base.startswith("https://")
        port = registry.server_address[1]
        trusting = ssl.create_default_context(cafile=certificate[0])
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=trusting)
        with contextlib.closing(connection):
            connection.request("GET", blob(depot))
            assert connection.getresponse().read() == LAYER
        context = listen.context()
        assert context is not None
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        with contextlib.suppress(ConnectionResetError):
            assert b"200" not in talk(f"127.0.0.1:{port}", b"GET /v2/ HTTP/1.1\r\n\r\n")
    join()


def test_a_certificate_that_cannot_be_used_is_refused(depot: Depot, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    for path in (str(bad), str(tmp_path / "missing.pem")):
        with pytest.raises(DepotError, match="cannot be used") as caught:
            Registry(depot.source, [depot.manifest], Listen(certificate=path, key=path))
        assert caught.value.reason == "invalid"


def read_model(registry: Registry, depot: Depot, path: str, start: int = 0) -> bytes:
    source = OciSource(registry.place, "models/tiny", f"sha256:{depot.models[0].manifest}", path)
    with contextlib.closing(OciOrigin(Network())) as origin, origin.open(source, start) as stream:
        assert stream.offset == start
        content, buffer = b"", memoryview(bytearray(4096))
        while count := stream.readinto(buffer):
            content += bytes(buffer[:count])
        return content


def test_the_code_of_model_pull_reads_models_through_it(depot: Depot) -> None:
    with serving(depot.source, [depot.manifest]) as registry:
        assert read_model(registry, depot, "sub/weights") == b"weights" * 1000
        assert read_model(registry, depot, "sub/weights", 6_995) == b"ights"
        assert read_model(registry, depot, "config.json") == b'{"a":1}'
        with contextlib.closing(OciOrigin(Network())) as origin:
            source = OciSource(registry.place, "models/tiny", f"sha256:{depot.models[0].manifest}")
            assert {one.path for one in origin.files(source)} == {"sub/weights", "config.json"}
            direct = OciSource(registry.place, "models/tiny", f"sha256:{depot.models[0].files['config.json']}")
            assert origin.probe(direct).size == 7


def test_a_models_configuration_is_given_out_without_the_depot_having_it(depot: Depot) -> None:
    assert not depot.blob(EMPTY_SHA256).exists()
    with serving(depot.source, [depot.manifest]) as registry:
        answer = ask(registry.place, f"/v2/models/tiny/blobs/sha256:{EMPTY_SHA256}")
        assert (answer.body, answer.headers["content-length"]) == (b"{}", "2")
        assert ask(registry.place, f"/v2/models/tiny/blobs/sha256:{EMPTY_SHA256}", Range="bytes=1-").body == b"}"
        assert ask(registry.place, "/v2/models/tiny/manifests/1").status == 200
