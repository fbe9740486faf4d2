# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import email.message
import email.utils
import http.client
import io
import socket
import ssl
import time
import urllib.error
import urllib.request

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import Redirects, broken, refused
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HttpSource

SOURCE = HttpSource("https://h/m?t=s3cret", "https://h/m?t=***")


def headers(**fields: str) -> http.client.HTTPMessage:
    message = http.client.HTTPMessage()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_may_pass_is_transient(status: int) -> None:
    assert refused(SOURCE, status, "No", headers()).transient


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 416, 451, 501])
def test_an_answer_that_will_stay_is_not_transient(status: int) -> None:
    error = refused(SOURCE, status, "No", headers())
    assert not error.transient
    assert (error.reason, error.details["status"]) == ("unavailable", status)
    assert f"https://h/m?t=***: the server answers {status}" in str(error)


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("7", 7, 7),
        (email.utils.formatdate(time.time() + 30, usegmt=True), 20, 30),
        (email.utils.formatdate(0, usegmt=True), 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("", 0, 0),
    ],
)
def test_retry_after_is_understood_in_seconds_and_as_a_date(field: str, low: float, high: float) -> None:
    assert low <= refused(SOURCE, 503, "Busy", headers(Retry_After=field)).retry_after <= high


FAILURES = [
    pytest.param(ConnectionRefusedError(111, "Connection refused"), True, "Connection refused", id="refused"),
    pytest.param(socket.timeout("timed out"), True, "within timeout", id="timeout"),
    pytest.param(socket.gaierror(-3, "Temporary failure in name resolution"), True, "name resolution", id="name"),
    pytest.param(http.client.RemoteDisconnected("closed without response"), True, "closed", id="closed"),
    pytest.param(http.client.IncompleteRead(b"x"), True, "IncompleteRead", id="broken chunk"),
    pytest.param(ssl.SSLEOFError(8, "EOF occurred"), True, "EOF occurred", id="TLS cut"),
    pytest.param(ssl.SSLCertVerificationError("self-signed"), False, "trusted certificates", id="certificate"),
    pytest.param(ValueError("odd"), False, "odd", id="our own fault"),
]


@pytest.mark.parametrize(("cause", "transient", "says"), FAILURES)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_broken_connection_is_transient_but_for_a_bad_certificate(
    cause: Exception, transient: bool, says: str, wrapped: bool
) -> None:
    error = broken(SOURCE, urllib.error.URLError(cause) if wrapped and isinstance(cause, OSError) else cause)
    assert error.transient == transient
    assert error.reason == "unavailable"
    assert says in str(error)
    assert "s3cret" not in str(error)


def redirect(old: str, new: str, code: int = 302) -> urllib.request.Request | None:
    request = urllib.request.Request(old, headers={"User-Agent": "us"})
    request.add_unredirected_header("Authorization", "Basic x")
    return Redirects().redirect_request(request, io.BytesIO(), code, "Found", headers(), new)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("old", "new", "keeps"),
    [
        ("https://h/a", "https://h/b", True),
        ("https://h/a", "https://h:443/b", True),
        ("https://H/a", "https://h/b", True),
        ("https://h/a", "https://h:444/b", False),
        ("https://h/a", "https://cdn.h/b", False),
        ("http://h/a", "https://h/b", False),
    ],
)
def test_credentials_follow_a_redirect_only_to_the_same_place(old: str, new: str, keeps: bool, code: int) -> None:
    request = redirect(old, new, code)
    assert request is not None
    assert request.full_url == new
    assert request.has_header("Authorization") == keeps
    assert request.get_header("User-agent") == "us"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https://h/a", "http://h/a"),
        ("http://h/a", "file:///etc/passwd"),
        ("http://h/a", "ftp://h/a"),
        ("http://h/a", "http://me:hunter2@h/a"),
    ],
)
def test_a_redirect_to_less_safety_is_refused(old: str, new: str) -> None:
    with pytest.raises(ModelError, match="not followed") as caught:
        redirect(old, new)
    assert "hunter2" not in str(caught.value)


def test_headers_without_retry_after_ask_for_no_wait() -> None:
    assert refused(SOURCE, 503, "Busy", email.message.Message()).retry_after == 0
