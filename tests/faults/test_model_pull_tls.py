# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What model_pull does with servers that speak TLS, and with those that should."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.emorobcare.fleet.tests.faults._pulls import (
    CHUNK,
    LARGE,
    SMALL,
    Run,
    contents,
    version_of,
    wanted_file,
)
from ansible_collections.emorobcare.fleet.tests.faults._server import Answer, FaultServer

pytestmark = pytest.mark.usefixtures("small_chunks")


def make_certificate(folder: Path, address: str, days: int = 1) -> Path:
    """Make a certificate that signs itself, and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{address}{days}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


def speak_tls(certificate: Path) -> FaultServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return FaultServer(tls=context)


@pytest.fixture(name="certificate")
def certificate_fixture(tmp_path: Path) -> Path:
    return make_certificate(tmp_path, "127.0.0.1")


@pytest.fixture(name="secure")
def secure_fixture(certificate: Path, direct: None) -> t.Iterator[FaultServer]:
    with speak_tls(certificate) as server:
        yield server


def test_an_authority_that_nobody_knows_is_refused_with_the_way_out(secure: FaultServer, run: Run) -> None:
    result = run(wanted_file(secure.serve("/model.bin", SMALL)))
    assert result["reason"] == "unavailable"
    assert "ca_path" in result["msg"]
    assert secure.requests == []


@pytest.mark.parametrize("content", [pytest.param(SMALL, id="small"), pytest.param(LARGE, id="large")])
def test_an_authority_of_ones_own_is_trusted(
    content: bytes, secure: FaultServer, certificate: Path, run: Run, tmp_path: Path
) -> None:
    url = secure.serve("/model.bin", content, Answer(cut_at=len(content) - 1), Answer())
    result = run(wanted_file(url, content=content), ca_path=str(certificate))
    assert result.get("changed"), result
    assert contents(version_of(tmp_path / "root")) == {"model.bin": content}
    assert secure.sent == len(content)


STALLS = [pytest.param(Answer(stall_after=0), id="at once"), pytest.param(Answer(stall_after=CHUNK), id="midway")]


@pytest.mark.parametrize("fault", STALLS)
def test_a_stall_under_tls_is_a_stall(
    fault: Answer, secure: FaultServer, certificate: Path, run: Run, tmp_path: Path
) -> None:
    url = secure.serve("/model.bin", LARGE, fault, Answer())
    assert run(wanted_file(url, content=LARGE), ca_path=str(certificate), stall_timeout=0.5)["changed"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": LARGE}


BAD = [
    pytest.param("127.0.0.2", 1, "another address", id="another address"),
    pytest.param("127.0.0.1", -1, "expired", id="expired"),
]


@pytest.mark.parametrize(("address", "days", "says"), BAD)
def test_a_certificate_that_does_not_hold_is_refused(
    address: str, days: int, says: str, direct: None, run: Run, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path, address, days)
    with speak_tls(certificate) as server:
        result = run(wanted_file(server.serve("/model.bin", SMALL)), ca_path=str(certificate))
        assert server.requests == []
    assert result["reason"] == "unavailable"
    assert says in result["msg"]


def test_a_redirect_does_not_lead_from_https_to_http(
    secure: FaultServer, server: FaultServer, certificate: Path, run: Run
) -> None:
    there = server.serve("/there", SMALL)
    result = run(wanted_file(secure.serve("/here", SMALL, Answer(302, {"Location": there}))), ca_path=str(certificate))
    assert result["reason"] == "unavailable"
    assert "from https down to http" in result["msg"]
    assert server.requests == []


def test_a_redirect_may_lead_from_http_to_https(
    secure: FaultServer, server: FaultServer, certificate: Path, run: Run
) -> None:
    there = secure.serve("/there", SMALL)
    url = server.serve("/here", SMALL, Answer(301, {"Location": there}))
    assert run(wanted_file(url), ca_path=str(certificate))["changed"]


def test_a_server_without_tls_is_told_from_one_with_a_bad_certificate(server: FaultServer, run: Run) -> None:
    result = run(wanted_file(f"https://{server.place}/model.bin"))
    assert result["reason"] == "unavailable"
    assert "http://" in result["msg"]


@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_a_ca_path_that_is_no_certificate_is_refused(
    content: bytes | None, secure: FaultServer, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    result = run(wanted_file(secure.serve("/model.bin", SMALL)), ca_path=str(path))
    assert (result.get("failed"), str(path) in result["msg"]) == (True, True), result
    assert result["reason"] in ("invalid", "unavailable")
