# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import email.utils
import socket
import ssl
import time

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_error import broken, refused
from ansible_collections.emorobcare.fleet.plugins.module_utils._http_wire import BadAnswer

SHOWN = "https://h/m?t=***"
NOW = 1_800_000_000.0


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_may_pass_is_transient(status: int) -> None:
    assert refused(SHOWN, status, "No", {}).transient


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407, 410, 416, 451, 501])
def test_an_answer_that_will_stay_is_not_transient(status: int) -> None:
    error = refused(SHOWN, status, "No", {})
    assert not error.transient
    assert (error.reason, error.details["status"]) == ("unavailable", status)
    assert f"https://h/m?t=***: the server answers {status} No" in str(error)


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "credentials"), (403, "expired"), (404, "is the URL right"), (407, "proxy"), (416, "fewer bytes")],
)
def test_an_answer_that_will_stay_says_what_to_look_at(status: int, hint: str) -> None:
    assert hint in str(refused(SHOWN, status, "No", {}))


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("7", 7, 7),
        (email.utils.formatdate(4102444800, usegmt=True), 4102444800 - NOW, 4102444800 - NOW),
        (email.utils.formatdate(0, usegmt=True), 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("\xb2", 0, 0),
        ("", 0, 0),
    ],
)
def test_retry_after_is_understood_in_seconds_and_as_a_date(
    field: str, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    assert low <= refused(SHOWN, 503, "Busy", {"retry-after": field}).retry_after <= high


def test_headers_without_retry_after_ask_for_no_wait() -> None:
    assert refused(SHOWN, 503, "Busy", {}).retry_after == 0


def test_a_url_in_the_servers_words_is_redacted() -> None:
    assert "hunter2" not in str(refused(SHOWN, 503, "see https://me:hunter2@h/", {}))


def not_tls() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


def certificate(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("cause", "transient", "says"),
    [
        pytest.param(ConnectionRefusedError(111, "Connection refused"), True, "Connection refused", id="refused"),
        pytest.param(socket.timeout("timed out"), True, "within timeout (t: 1 s)", id="timeout"),
        pytest.param(socket.gaierror(-3, "Temporary failure in name resolution"), True, "name resolution", id="name"),
        pytest.param(BadAnswer("closed in the middle"), True, "closed in the middle", id="broken answer"),
        pytest.param(ssl.SSLEOFError(8, "EOF occurred"), True, "EOF occurred", id="TLS cut"),
        pytest.param(certificate(18), False, "ca_path", id="unknown authority"),
        pytest.param(certificate(10), False, "clock", id="expired"),
        pytest.param(certificate(62), False, "is the URL right", id="other name"),
        pytest.param(ssl.SSLCertVerificationError("odd"), False, "ca_path", id="certificate"),
        pytest.param(not_tls(), False, "http://", id="no TLS"),
        pytest.param(ValueError("odd"), False, "odd", id="our own fault"),
        pytest.param(OSError("see https://me:hunter2@h/?t=s3cret"), True, "https://***@h/?t=***", id="redacted"),
    ],
)
def test_a_broken_connection_is_transient_but_for_a_bad_certificate(
    cause: Exception, transient: bool, says: str
) -> None:
    error = broken(SHOWN, cause, "t: 1 s", "http://p:1")
    assert (error.transient, error.reason) == (transient, "unavailable")
    assert str(error).startswith(f"{SHOWN}: ")
    assert says in str(error)
    assert str(error).endswith("(through the proxy http://p:1)")
    assert not [secret for secret in ("hunter2", "s3cret") if secret in str(error)]
