# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_secrets import (
    is_random,
    redacted,
    secret_in_name,
    secrets_in_config,
    secrets_in_text,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._audit import CONFIG

# Put together here, so that nobody finds a token in this file.
RANDOM = "q7Zt" + "9XbK2mWv" + "4RsY8pLd" + "3NhF6gTc" + "1JwQ5uEa"
AWS = "AKIA" + "Q7ZT9XBK2MWV4RSY"
GITHUB = "ghp" + "_" + RANDOM
SLACK = "xoxb" + "-123456789012-" + RANDOM
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\n" + RANDOM + "\n"

FOUND = [
    pytest.param("/a.py", f"x = '{AWS}'", "AWS access key", 1, id="AWS"),
    pytest.param("/a.cfg", f"\n\ntoken {GITHUB}\n", "GitHub token", 3, id="GitHub"),
    pytest.param("/a", SLACK, "Slack token", 1, id="Slack"),
    pytest.param("/k.pem", KEY, "private key", 1, id="private key"),
    pytest.param(
        "/k.json", '{"k": "-----BEGIN ' + f'PRIVATE KEY-----\\n{RANDOM}"}}', "private key", 1, id="key in JSON"
    ),
    pytest.param("/a.conf", f"a=1\nAPI_KEY={RANDOM}\n", "secret setting", 2, id="setting"),
    pytest.param("/a.yml", f"db_password: {RANDOM}\n", "secret setting", 1, id="setting in YAML"),
    pytest.param("/a.py", f'AUTH_TOKEN = "{RANDOM}"\n', "secret setting", 1, id="constant of a program"),
]
HARMLESS = [
    pytest.param("/a.py", "-----BEGIN " + "PRIVATE KEY-----\nnot base64", id="words about a key"),
    pytest.param("/a.py", "AKIA" + "IOSFODNN7EXAMPLE", id="the example of AWS's own documents"),
    pytest.param("/a.py", f"token = {RANDOM}", id="a variable of a program"),
    pytest.param("/a.conf", "API_KEY=changeme-please-now", id="words"),
    pytest.param("/a.conf", "TOKEN_FILE=/run/secrets/token0123456789", id="where a secret is"),
    pytest.param("/a.conf", "DB_PASSWORD=${DB_PASSWORD_9f8e7d6c5b4a}", id="a variable"),
]


@pytest.mark.parametrize(("path", "text", "kind", "line"), FOUND)
def test_a_secret_in_a_file_is_found_and_not_told(path: str, text: str, kind: str, line: int) -> None:
    (secret,) = secrets_in_text(path, text.encode())
    assert (secret.place, secret.kind, secret.line) == (path, kind, line)
    for told in (RANDOM, AWS, AWS[4:]):
        assert told not in str(secret)


@pytest.mark.parametrize(("path", "text"), HARMLESS)
def test_what_only_looks_like_a_secret_is_not_one(path: str, text: str) -> None:
    assert secrets_in_text(path, text.encode()) == []


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        ("/srv/.env", True),
        ("/srv/.env.production", True),
        ("/srv/.env.example", False),
        ("/root/.ssh/id_ed25519", True),
        ("/root/.ssh/id_ed25519.pub", False),
        ("/root/.netrc", True),
        ("/root/.docker/config.json", True),
        ("/srv/config.json", False),
    ],
)
def test_files_that_hold_secrets_are_known_by_name(path: str, secret: bool) -> None:
    assert (secret_in_name(path, 10) is not None) == secret
    assert secret_in_name(path, 0) is None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"env": ("DB_PASSWORD=tiger",)}, "environment DB_PASSWORD"),
        ({"env": ("DATABASE_URL=postgres://me:tiger@db/x",)}, "environment DATABASE_URL"),
        ({"labels": {"com.example.token": "tiger"}}, "label com.example.token"),
        ({"history": ("RUN |1 TOKEN=tiger /bin/sh -c make",)}, "history step 1"),
        ({"history": (f"RUN fetch {GITHUB}",)}, "history step 1"),
    ],
)
def test_a_secret_in_the_configuration_is_found_and_not_told(change: dict[str, object], place: str) -> None:
    (secret,) = secrets_in_config(dataclasses.replace(CONFIG, **change))  # type: ignore[arg-type]
    assert secret.place == place
    assert "tiger" not in str(secret)
    assert RANDOM not in str(secret)


@pytest.mark.parametrize(
    "setting",
    [
        "GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568",
        "DB_PASSWORD=",
        "DB_PASSWORD_FILE=/run/secrets/db",
        "MAX_TOKEN=4096",
        "REDIS_PASSWORD=${REDIS_PASSWORD}",
        "DATABASE_URL=postgres://me@db/x",
    ],
)
def test_settings_that_hold_no_secret_are_left_alone(setting: str) -> None:
    assert secrets_in_config(dataclasses.replace(CONFIG, env=(setting,))) == []


def test_a_step_is_shown_without_its_secrets() -> None:
    step = f"RUN |1 TOKEN=tiger A=b /bin/sh -c get https://me:tiger@host/x {AWS}"
    assert redacted(step) == "RUN |1 TOKEN=… A=b /bin/sh -c get https://me:…@host/x …"


@pytest.mark.parametrize(
    ("value", "random"), [(RANDOM, True), ("correct-horse-battery-staple", False), ("a1" * 12, False)]
)
def test_words_are_not_random(value: str, random: bool) -> None:
    assert is_random(value) == random
