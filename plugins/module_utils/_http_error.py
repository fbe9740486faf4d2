# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What went wrong over HTTP, in words and with the way out. Nothing here does I/O or shows credentials."""

from __future__ import annotations

import email.utils
import socket
import ssl
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_wire import BadAnswer
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import redact_text

# Answers after which the same request may well succeed: overload, a proxy whose backend restarts, a rate limit.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_HINTS = {
    401: "; the server wants other credentials",
    403: "; the server forbids it: are the credentials right, has a signed URL expired?",
    404: "; is the URL right?",
    407: "; the proxy wants other credentials: give them in the URL of the proxy",
    416: "; the file has fewer bytes: was it replaced?",
}
# OpenSSL's X509_V_ERR_*, as far as something other than the authority is to blame.
_CERTIFICATE_HINTS = {
    9: "the certificate is not valid yet: is the clock of the host right?",
    10: "the certificate has expired, or the clock of the host is wrong",
    23: "the certificate was revoked",
    62: "the certificate is for another name: is the URL right?",
    64: "the certificate is for another address: is the URL right?",
}
_AUTHORITY_HINT = "name the PEM file of the authority in ca_path, or add it to the host's trusted certificates"
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"})


def refused(shown: str, status: int, reason: str, headers: t.Mapping[str, str]) -> ModelError:
    """Return the error for an answer that is not what was hoped for; the names of `headers` are in lower case."""
    return ModelError(
        f"{shown}: the server answers {status} {redact_text(reason)}".rstrip() + _HINTS.get(status, ""),
        reason="unavailable",
        transient=status in _TRANSIENT,
        retry_after=_retry_after(headers.get("retry-after", "")),
        source=shown,
        status=status,
    )


def broken(shown: str, exc: Exception, timeout: str, via: str = "", late: Reason = "unavailable") -> ModelError:
    """Return the error for a connection that could not be made, or broke: transient, but for a bad certificate.

    `timeout` says which one it would have been and `late` what its reason is, `via` names the proxy.
    """
    text, hint, transient = redact_text(_words(exc)), "", isinstance(exc, (OSError, BadAnswer))
    reason: Reason = "unavailable"
    if isinstance(exc, socket.timeout):  # which is TimeoutError only since Python 3.10
        reason = late
        text = f"no answer, or no more of it, within timeout ({timeout})"
    elif isinstance(exc, ssl.SSLCertVerificationError):
        hint = f"; {_CERTIFICATE_HINTS.get(getattr(exc, 'verify_code', 0), _AUTHORITY_HINT)}"
        transient = False
    elif isinstance(exc, ssl.SSLError) and getattr(exc, "reason", None) in _NOT_TLS:
        hint, transient = "; the server does not speak TLS on that port: is it http://?", False
    through = f" (through the proxy {via})" if via else ""
    return ModelError(f"{shown}: {text}{hint}{through}", reason=reason, transient=transient, source=shown)


def _words(exc: Exception) -> str:
    text = exc.strerror if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError) else None
    return text or str(exc) or type(exc).__name__


def _retry_after(text: str) -> float:
    """Return the seconds that a Retry-After header (RFC 9110, section 10.2.3) asks for; 0 when it has no sense."""
    if text.strip().isdecimal():
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, when.timestamp() - time.time())
