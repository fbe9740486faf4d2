# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A read-only registry over a depot, from which engines pull with their own pull.

_depot_routes says what is answered; here it is sent. A manifest is checked against its digest before it is sent. A
blob is hashed while it is sent, and its last piece is kept back until the digest is right: a client never gets the
whole of a blob that is wrong, even one that does not check. (Ranges are for clients that resume, and check.)

Hashing stays on, on loopback too: it was measured to cost nothing that an engine would notice, because an engine hashes
and unpacks what it gets at a fraction of the speed.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import ipaddress
import socket
import ssl
import sys
import threading
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import (
    Source,
    corrupt,
    missing,
    read_blob,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_routes import (
    EMPTY,
    EMPTY_SHA256,
    Reply,
    Repository,
    catalog_of,
    document_reply,
    loose_of,
    refusal,
    route,
)

MANIFEST_LIMIT = 4 << 20  # bytes; what the distribution specification asks registries to take
_HEAD_LIMIT = 30.0  # seconds in which the whole head of a request must come, and how long a connection may idle
_SEND_LIMIT = 60.0  # seconds in which a slice must go out
_SLICE = 256 << 10  # bytes; a client slower than this much in _SEND_LIMIT is taken for stuck
_LINGER = 2.0  # seconds that a client gets to read the end, once we hang up
_CLOSE_LIMIT = 5.0  # seconds that connections get to end once they are cut
_CONNECTIONS = 64  # at a time; an engine opens a handful
_FILE_LIMIT = 64 << 20  # bytes; index.json names everything in the depot
_TLS_HANDSHAKE = b"\x16"  # how the first message of TLS begins
_NO_TLS = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThis is http, not https.\n"


@dataclass(frozen=True)
class Listen:
    """Where to listen: an IP address, a port (0: any free one), and files for TLS, if it is to be.

    Raises:
        DepotError: others than this machine could connect, and neither TLS nor `insecure` was said (`invalid`).
    """

    address: str = "127.0.0.1"
    port: int = 0
    certificate: str = ""
    key: str = ""
    insecure: bool = False

    def __post_init__(self) -> None:
        try:
            parsed = ipaddress.ip_address(self.address)
        except ValueError:
            raise DepotError(
                f"{self.address!r} is no IP address to listen on; give one of this machine's, or 0.0.0.0 for all",
                reason="invalid",
            ) from None
        if not 0 <= self.port <= 65535:
            raise DepotError(f"port {self.port} is not between 0 and 65535", reason="invalid")
        if bool(self.certificate) != bool(self.key):
            raise DepotError("TLS needs both a certificate and its key", reason="invalid")
        if not (parsed.is_loopback or self.certificate or self.insecure):
            raise DepotError(
                f"others could read along, and answer in our place, at {self.address}: give a certificate and its key, "
                "or say that it is to be insecure",
                reason="invalid",
            )

    def context(self) -> ssl.SSLContext | None:
        """Return what TLS needs; None where there is to be none.

        Raises:
            DepotError: the certificate or its key cannot be used (`invalid`).
        """
        if not self.certificate:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except OSError as exc:  # SSLError is one
            why = exc.strerror or str(exc)
            raise DepotError(
                f"certificate {self.certificate} with key {self.key} cannot be used: {why}", reason="invalid"
            ) from exc
        return context


class Registry(http.server.ThreadingHTTPServer):
    """Serves what trusted releases name; it listens from the moment that it is made.

    Raises:
        DepotError: it cannot listen there (`io_error`), or the files for TLS cannot be used (`invalid`).
    """

    daemon_threads = True
    block_on_close = False  # a client that is stuck must not keep us from stopping
    request_queue_size = 64

    def __init__(
        self, source: Source, manifests: t.Iterable[Manifest], listen: Listen | None = None, verbose: bool = False
    ) -> None:
        self.listen = listen or Listen()
        self.source: Source = source
        trusted = list(manifests)
        self.catalog: dict[str, Repository] = catalog_of(trusted)
        self.loose = loose_of(trusted)
        self.verbose = verbose
        self._tls = self.listen.context()
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._ended = threading.Condition(self._lock)
        self._served = 0
        self._trouble: DepotError | None = None
        self.address_family = socket.AF_INET6 if ":" in self.listen.address else socket.AF_INET
        try:
            super().__init__((self.listen.address, self.listen.port), _Handler)
        except OSError as exc:
            raise DepotError(
                f"cannot listen on {self.listen.address} port {self.listen.port}: {exc.strerror}", reason="io_error"
            ) from exc

    @property
    def place(self) -> str:
        """Host and port, as references of images have them."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def base(self) -> str:
        """The address for HTTP clients."""
        return f"{'https' if self._tls else 'http'}://{self.place}"

    @property
    def served(self) -> int:
        """Bytes of blobs that were sent so far, or are on their way."""
        with self._lock:
            return self._served

    @property
    def trouble(self) -> DepotError | None:
        """The first thing that was wrong with the depot, if any."""
        with self._lock:
            return self._trouble

    def count(self, size: int) -> None:
        with self._lock:
            self._served += size

    def note(self, error: DepotError) -> None:
        with self._lock:
            self._trouble = self._trouble or error

    def server_bind(self) -> None:
        # HTTPServer's own would ask the name service who we are, which can take long where there is no network.
        super(http.server.HTTPServer, self).server_bind()

    def process_request(self, request: t.Any, client_address: t.Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: t.Any, client_address: t.Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def finish_request(self, request: t.Any, client_address: t.Any) -> None:
        if self._tls is None:
            with self._known(request):
                super().finish_request(request, client_address)
            return
        # In the connection's own thread: who connects and says nothing keeps nobody else waiting.
        request.settimeout(_HEAD_LIMIT)
        wrapped = self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        with wrapped, self._known(wrapped):
            wrapped.do_handshake()
            super().finish_request(wrapped, client_address)

    def server_close(self) -> None:
        """Stop listening, and cut whoever still reads: a stick can be taken out once this is through."""
        super().server_close()
        with self._ended:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # it has gone by itself
                    # A TLS socket's own would wait for the thread that uses it.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
            # A read from a failing medium cannot be cut; it does not hold us up for longer than this.
            self._ended.wait_for(lambda: not self._connections, _CLOSE_LIMIT)

    @contextlib.contextmanager
    def _known(self, connection: socket.socket) -> t.Iterator[None]:
        """Have a connection among those that are cut at the end."""
        with self._ended:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._ended:
                self._connections.discard(connection)
                self._ended.notify_all()

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        # A client that goes away is nothing to report; anything else is a fault of ours, and is shown.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Timed(io.RawIOBase):
    """Reads a socket until a deadline, however slowly bytes drip in."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("the request did not come in time")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "fleet-depot"
    sys_version = ""
    disable_nagle_algorithm = True
    server: Registry

    def setup(self) -> None:
        super().setup()
        self._timed = _Timed(self.connection)
        self.rfile.close()
        self.rfile = io.BufferedReader(self._timed)

    def handle_one_request(self) -> None:
        self._timed.deadline = time.monotonic() + _HEAD_LIMIT
        try:
            first = t.cast(io.BufferedReader, self.rfile).peek(1)[:1]
        except socket.timeout:
            first = b""
        if first == _TLS_HANDSHAKE:
            # Engines try https first, and http once they are told so; the rest of this may have no end of line.
            self.connection.settimeout(_SEND_LIMIT)
            self.connection.sendall(_NO_TLS)
        if first in (b"", _TLS_HANDSHAKE):
            self.close_connection = True
            return
        super().handle_one_request()

    def finish(self) -> None:
        """Let the client read to the end: closing with bytes of it unread would take the answer from it."""
        super().finish()
        with contextlib.suppress(OSError):  # it has gone, or goes on and on
            socket.socket.shutdown(self.connection, socket.SHUT_WR)
            self._timed.deadline = time.monotonic() + _LINGER
            while self._timed.readinto(bytearray(_SLICE)):
                pass

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            self.close_connection = True  # we do not read bodies, so the next request could not be told from one
        self._send(route(self.server.catalog, self.command, self.path, headers, self.server.loose))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server itself refuses in the form of all errors here."""
        self.close_connection = True
        self.request_version = self.protocol_version  # what could not be read counts as 0.9, which has no heads
        self._send(refusal(code, "UNSUPPORTED", message or explain or "this is no request that can be answered"))

    def _send(self, reply: Reply) -> None:
        try:
            reply = self._settled(reply)
        except DepotError as exc:
            self.server.note(exc)
            unknown = "MANIFEST_UNKNOWN" if reply.manifest else "BLOB_UNKNOWN"
            reply = refusal(404, unknown, str(exc))
        self.connection.settimeout(_SEND_LIMIT)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        # Docker takes what lacks this one for a registry of the first version.
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.blob:
            self._send_blob(reply)
        else:
            self.wfile.write(reply.body)

    def _settled(self, reply: Reply) -> Reply:
        """Look into the depot before a word is said: a manifest is read and checked, a blob's size must be right."""
        source = self.server.source
        if reply.blob == EMPTY_SHA256:
            return Reply(reply.status, reply.headers, EMPTY[reply.start : reply.stop])
        if reply.file:
            document = source.read(reply.file, _FILE_LIMIT)
            if document is None:
                return refusal(404, "UNSUPPORTED", f"the depot has no {reply.file}")
            return replace(reply, headers={**reply.headers, "Content-Length": str(len(document))}, body=document)
        if reply.manifest:
            return document_reply(reply, read_blob(source, reply.manifest, MANIFEST_LIMIT, reply.size))
        if reply.blob:
            check_size(source, reply.blob, reply.size)
        return reply

    def _send_blob(self, reply: Reply) -> None:
        try:
            for piece in _checked(self.server.source, reply):
                self.server.count(len(piece))
                for start in range(0, len(piece), _SLICE):
                    self.wfile.write(piece[start : start + _SLICE])
        except DepotError as exc:
            # The head has gone out, so all that can be done is not to finish.
            self.server.note(exc)
            self.close_connection = True

    def log_message(self, *args: t.Any) -> None:
        if self.server.verbose:
            super().log_message(*args)


def check_size(source: Source, sha256: str, size: int) -> None:
    """Refuse a blob that is not there, or has another size in bytes than a trusted manifest says.

    Raises:
        DepotError: `blob_missing`, `blob_corrupt`, or why the depot cannot be read.
    """
    found = source.blob_size(sha256)
    if found is None:
        raise missing(source.shown, sha256)
    if found != size:
        raise corrupt(source.shown, sha256, f"has {found} bytes instead of {size}")


def _checked(source: Source, reply: Reply) -> t.Iterator[memoryview]:
    """Return the bytes that a reply asks for; of a whole blob the last piece only once the digest is right.

    Raises:
        DepotError: they are not those, or cannot be read.
    """
    left, hasher = reply.stop - reply.start, hashlib.sha256()
    held = memoryview(b"")
    for piece in source.pieces(reply.blob, reply.start):
        yield held
        held = memoryview(piece)[:left]
        left -= len(held)
        if reply.whole:
            hasher.update(held)
        if not left:
            break
    if left:
        raise corrupt(source.shown, reply.blob, "became shorter while it was read")
    if reply.whole and hasher.hexdigest() != reply.blob:
        raise corrupt(source.shown, reply.blob, "has other content than its name says")
    yield held


@contextlib.contextmanager
def serving(
    source: Source, manifests: t.Iterable[Manifest], listen: Listen | None = None, verbose: bool = False
) -> t.Iterator[Registry]:
    """Serve trusted releases from a depot while the block runs; `base` and `place` of what is given say where.

    Raises:
        DepotError: as `Registry`.
    """
    with Registry(source, manifests, listen, verbose) as registry:
        thread = threading.Thread(target=registry.serve_forever, args=(0.05,), name="depot registry", daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            thread.join()
