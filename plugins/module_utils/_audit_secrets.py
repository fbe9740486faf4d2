# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Tell what looks like a secret, in files and in an image's configuration. Pure; no secret is ever returned.

Words that announce a secret are looked for first, since that costs next to nothing; expressions run only after that.
Forms of tokens are those that their issuers document.
"""

from __future__ import annotations

import math
import posixpath
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import Config, Secret

LARGEST = 1_000_000
"""Bytes; files that are larger are no configuration and are not searched."""

_PER_FILE = 5

_KEY = rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\\n|\s)+(?:[A-Za-z-]+: [^\n]*\s+)*[A-Za-z0-9+/=]{16}"


class _Form(t.NamedTuple):
    kind: str
    words: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    shown: int  # so many of the first characters say only which kind it is


_FORMS = (
    _Form("private key", (b"PRIVATE KEY",), re.compile(_KEY), 0),
    _Form("private key", (b"PuTTY-User-Key-File-",), re.compile(rb"^PuTTY-User-Key-File-\d", re.M), 0),
    _Form("private key", (b"AGE-SECRET-KEY-1",), re.compile(rb"AGE-SECRET-KEY-1[0-9A-Z]{58}"), 0),
    _Form("AWS access key", (b"AKIA", b"ASIA"), re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b(?<!EXAMPLE)"), 4),
    _Form(
        "AWS secret key",
        (b"aws_secret_access_key", b"AWS_SECRET_ACCESS_KEY"),
        re.compile(rb"(?i:aws_secret_access_key)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}(?<!EXAMPLEKEY)\b"),
        0,
    ),
    _Form(
        "GitHub token", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}"), 4
    ),
    _Form("GitHub token", (b"github_pat_",), re.compile(rb"\bgithub_pat_[A-Za-z0-9_]{82}"), 11),
    _Form("GitLab token", (b"glpat-",), re.compile(rb"\bglpat-[A-Za-z0-9_-]{20}"), 6),
    _Form("Slack token", (b"xox",), re.compile(rb"\bxox[abeoprs]-[0-9]{6,}-[A-Za-z0-9-]{10,}"), 5),
    _Form(
        "Slack webhook",
        (b"hooks.slack.com/services/",),
        re.compile(rb"hooks\.slack\.com/services/T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{20,}"),
        0,
    ),
    _Form("Google API key", (b"AIza",), re.compile(rb"\bAIza[0-9A-Za-z_-]{35}"), 4),
    _Form("Stripe key", (b"k_live_",), re.compile(rb"\b[rs]k_live_[0-9A-Za-z]{24}"), 8),
    _Form("npm token", (b"npm_",), re.compile(rb"\bnpm_[A-Za-z0-9]{36}\b"), 4),
    _Form("PyPI token", (b"pypi-Ag",), re.compile(rb"\bpypi-Ag[A-Za-z0-9_-]{50}"), 5),
    _Form("npm token", (b"_authToken",), re.compile(rb"_authToken\s*=\s*(?!\$)[A-Za-z0-9+/=_-]{16}"), 0),
)

# A name whose value is a secret, by its last words.
_LAST = (
    r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?"
    r"|(?:API|ACCESS|AUTH|ENCRYPTION|MASTER|PRIVATE|SECRET|SIGNING)[_-]?KEY)"
)
_NAME = r"(?:[A-Za-z0-9]+[_-])*" + _LAST
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_UPPER_WORDS = (b"PASS", b"SECRET", b"TOKEN", b"CREDENTIAL", b"KEY")
_WORDS = (*_UPPER_WORDS, b"pass", b"secret", b"token", b"credential", b"key")
_VALUE = rb"[A-Za-z0-9+/=_.~!@#%^&*-]{12,200}"
# In programs only what is quoted is a value, and only constants hold one.
_CONSTANT = re.compile(
    rb"^[ \t]*(?:export |const )?((?:[A-Z0-9_]+_)?" + _LAST.encode() + rb")\s*=\s*([\"'])(" + _VALUE + rb")\2", re.M
)
_SETTING = re.compile(
    rb"^[ \t]*(?:- |export )?[\"']?(" + _NAME.encode() + rb")[\"']?\s*[=:]\s*([\"']?)(" + _VALUE + rb")\2\s*,?\s*$",
    re.M | re.I,
)
_SETTINGS_FILE = re.compile(
    r".*\.(?:cfg|cnf|conf|config|env|ini|json|properties|toml|ya?ml)|[^.]*|\.[^.]*rc", re.IGNORECASE
)

_KEY_FILE = re.compile(r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?")
_ENVIRONMENT_FILE = re.compile(r"\.env(?:\.(?!example$|sample$|template$|dist$).+)?")
_CREDENTIAL_FILES = {".git-credentials", ".netrc", ".pgpass", ".pypirc"}

_ASSIGNED = re.compile(r"(?:^|[\s|'\"])(" + _NAME + r")=(\"[^\"]*\"|'[^']*'|\S*)", re.IGNORECASE)
_IN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:([^\s/@$]+)@")
# What stands where a secret would, and is none: nothing, a place, a variable, a number, a word that says so.
_HARMLESS = re.compile(r"|/.*|.*[$<>{}].*|[0-9.]+|(?i:true|false|yes|no|none|null|changeme|x+|\*+)")


def secret_in_name(path: str, size: int) -> Secret | None:
    """Tell whether a file is one that holds secrets, by its name."""
    name = posixpath.basename(path)
    if not size:
        return None
    if _KEY_FILE.fullmatch(name):
        return Secret(path, "private key", hint="by its name")
    if _ENVIRONMENT_FILE.fullmatch(name):
        return Secret(path, "environment file", hint="by its name")
    if name in _CREDENTIAL_FILES or path.endswith("/.docker/config.json"):
        return Secret(path, "credentials", hint="by its name")
    return None


def secrets_in_text(path: str, content: bytes) -> list[Secret]:
    """Return what looks like a secret in a text file's content, at most a handful."""
    found = [
        Secret(path, form.kind, _line(content, match.start()), _hint(match[0], form.shown))
        for form in _FORMS
        if any(word in content for word in form.words)
        for match in form.pattern.finditer(content)
    ]
    settings = _SETTINGS_FILE.fullmatch(posixpath.basename(path)) is not None
    if any(word in content for word in (_WORDS if settings else _UPPER_WORDS)):
        lines = {secret.line for secret in found}
        for match in (_SETTING if settings else _CONSTANT).finditer(content):
            secret = _setting(path, match, _line(content, match.start(1)))
            found += [secret] if secret and secret.line not in lines else []
    return found[:_PER_FILE]


def _setting(path: str, match: re.Match[bytes], line: int) -> Secret | None:
    name, value = match[1].decode(), match[3].decode()
    if _HARMLESS.fullmatch(value) or not is_random(value):
        return None
    return Secret(path, "secret setting", line, f"{name}=… ({len(value)} characters)")


def secrets_in_config(config: Config) -> list[Secret]:
    """Return what looks like a secret in an image's environment, labels and history."""
    found: list[Secret] = []
    for setting in config.env:
        name, _equals, value = setting.partition("=")
        found += _named(f"environment {name}", name, value)
    for name, value in sorted(config.labels.items()):
        found += _named(f"label {name}", name, value)
    for number, step in enumerate(config.history, 1):
        place = f"history step {number}"
        found += [
            Secret(place, "secret setting", hint=f"{match[1]}=…")
            for match in _ASSIGNED.finditer(step)
            if not _harmless(match[2])
        ]
        found += _known(place, step)
    return list(dict.fromkeys(found))


def redacted(text: str) -> str:
    """Return a command of an image's history without what looks like a secret in it."""
    text = _ASSIGNED.sub(lambda match: match[0] if _harmless(match[2]) else f"{match[0][: -len(match[2])]}…", text)
    text = _IN_URL.sub(
        lambda match: match[0] if _harmless(match[1]) else match[0].replace(f":{match[1]}@", ":…@"), text
    )
    content = text.encode(errors="replace")
    for form in _FORMS:
        content = form.pattern.sub("…".encode(), content)
    return content.decode()


def _named(place: str, name: str, value: str) -> list[Secret]:
    if _SECRET_NAME.fullmatch(name.rpartition(".")[2]) and not _harmless(value):
        return [Secret(place, "secret setting", hint=f"{len(value)} characters")]
    return _known(place, value)


def _known(place: str, text: str) -> list[Secret]:
    content = text.encode(errors="replace")
    found = [
        Secret(place, form.kind, hint=_hint(match[0], form.shown))
        for form in _FORMS
        for match in form.pattern.finditer(content)
    ]
    in_urls = [match for match in _IN_URL.finditer(text) if not _harmless(match[1])]
    return found + [Secret(place, "password in a URL") for _match in in_urls]


def _harmless(value: str) -> bool:
    return _HARMLESS.fullmatch(value.strip("\"'")) is not None


def is_random(value: str) -> bool:
    """Tell whether a value looks made by a machine: letters and digits, and as many different ones as chance gives.

    Words and numbered names stay below 3.3 bits a character (Shannon), random hex digits are near 3.7.
    """
    if not (re.search(r"[A-Za-z]", value) and re.search(r"[0-9]", value)):
        return False
    counts = [value.count(character) / len(value) for character in set(value)]
    digits = sum(character.isdigit() for character in value)
    return -sum(share * math.log2(share) for share in counts) >= 3.3 and digits >= len(value) / 12


def _line(content: bytes, place: int) -> int:
    return content.count(b"\n", 0, place) + 1


def _hint(found: bytes, shown: int) -> str:
    return f"{found[:shown].decode()}… ({len(found)} characters)" if shown else ""
