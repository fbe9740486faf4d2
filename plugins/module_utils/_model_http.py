# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Files behind http and https, streamed. Credentials are sent to the host that they are for and to no other."""

from __future__ import annotations

import contextlib
import email.message
import email.utils
import http.client
import socket
import ssl
import time
import typing as t
import urllib.error
import urllib.request
from urllib.parse import SplitResult, urlsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HttpSource, redact_text, redact_url

# Answers after which the same request may well succeed: overload, a proxy whose backend restarts, a rate limit.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_AGENT = "emorobcare.fleet model_pull"
_PORTS = {"http": 80, "https": 443}


class HttpStream:
    """The body of an answer. `size` is its Content-Length, None when the server does not say."""

    def __init__(self, response: http.client.HTTPResponse, source: HttpSource) -> None:
        self._response = response
        self._source = source
        length = response.headers.get("Content-Length")
        self.size = int(length) if length is not None and length.isdigit() else None

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`; return the bytes read, 0 at the end of the body or where the connection was closed.

        Raises:
            ModelError: transient; nothing came within the timeout, or the connection broke.
        """
        try:
            return self._response.readinto(buffer)
        except (OSError, http.client.HTTPException) as exc:
            raise broken(self._source, exc) from exc


class HttpOrigin:
    """Opens sources over http(s), through the proxies and with the authorities that the host is set up for."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        context = ssl.create_default_context()
        self._opener = urllib.request.OpenerDirector()
        # Not build_opener: it would add file, ftp and data, to which a redirect has no business to lead.
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.UnknownHandler(),
            Redirects(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    @contextlib.contextmanager
    def open(self, source: HttpSource) -> t.Iterator[HttpStream]:
        """Request a file.

        Raises:
            ModelError: with reason `unavailable`; the server cannot be reached, or does not give the file.
        """
        request = urllib.request.Request(source.url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})
        if source.authorization:
            # "Unredirected" headers stay here when urllib follows a redirect; Redirects decides who gets them.
            request.add_unredirected_header("Authorization", source.authorization)
        try:
            response = self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as exc:
            with exc:
                raise refused(source, exc.code, exc.reason, exc.headers) from None
        except (OSError, http.client.HTTPException, ValueError) as exc:  # URLError is an OSError
            raise broken(source, exc) from exc
        with response:
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding.lower() != "identity" or response.status != 200:
                raise ModelError(
                    f"{source.shown}: the server answers with status {response.status} and encoding {encoding!r} where "
                    "200 and the plain file are needed; use a URL that serves the file itself",
                    reason="unavailable",
                    source=source.shown,
                )
            yield HttpStream(response, source)


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects over http(s), never from https down to http; credentials go only to their own host."""

    # Python before 3.11 does not know 308 (RFC 9110, section 15.4.9); for a GET it is what 307 is.
    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: t.IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in _PORTS or (old.scheme, new.scheme) == ("https", "http") or "@" in new.netloc:
            fp.close()
            raise ModelError(
                f"{redact_url(req.full_url)} redirects to {redact_url(newurl)}, which is not followed: only http(s), "
                "not from https to http, not with credentials in the URL. Use the final URL as source",
                reason="unavailable",
                source=redact_url(req.full_url),
            )
        request = super().redirect_request(req, fp, 307 if code == 308 else code, msg, headers, newurl)
        authorization = req.unredirected_hdrs.get("Authorization")
        if request is not None and authorization and _place(old) == _place(new):
            request.add_unredirected_header("Authorization", authorization)
        return request


def _place(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def refused(source: HttpSource, status: int, reason: str, headers: email.message.Message) -> ModelError:
    """Return the error for an answer that is not 200."""
    hint = {
        401: "; the server wants other credentials",
        403: "; the server forbids it: are the credentials right, has a signed URL expired?",
        404: "; is the URL right?",
    }.get(status, "")
    return ModelError(
        f"{source.shown}: the server answers {status} {redact_text(reason)}{hint}",
        reason="unavailable",
        transient=status in _TRANSIENT,
        retry_after=_retry_after(headers.get("Retry-After", "")),
        source=source.shown,
        status=status,
    )


def broken(source: HttpSource, exc: Exception) -> ModelError:
    """Return the error for a connection that could not be made, or broke. Transient, but for a bad certificate."""
    cause = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    certificate = isinstance(cause, ssl.SSLCertVerificationError)
    text = redact_text(str(cause)) or type(cause).__name__
    if isinstance(cause, socket.timeout):  # which is TimeoutError only since Python 3.10
        text = "no answer, or no more of it, within timeout"
    hint = "; add the authority to the host's trusted certificates" if certificate else ""
    return ModelError(
        f"{source.shown}: {text}{hint}",
        reason="unavailable",
        transient=isinstance(cause, (OSError, http.client.HTTPException)) and not certificate,
        source=source.shown,
    )


def _retry_after(text: str) -> float:
    """Return the seconds that a Retry-After header (RFC 9110, section 10.2.3) asks for; 0 when it has no sense."""
    if text.strip().isdigit():
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, when.timestamp() - time.time())
