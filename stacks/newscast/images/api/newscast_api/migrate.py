# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the tables to what this release needs: ``python -m newscast_api.migrate``.

Migrations are files of SQL, numbered from 1 without a gap, each run once, in a transaction of its own, and recorded
with its digest. A release that is older than the tables leaves them: migrations only add, so that it works with them
and going back needs nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
import time
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import SettingsError
from .settings import Settings, read_settings

FOLDER = Path(__file__).parent / "migrations"
WAIT_SECONDS = 60.0  # for the database to start
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_RECORDS = (
    "CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,"
    " applied timestamptz NOT NULL DEFAULT now())"
)
_log = logging.getLogger(__name__)


class MigrationError(Exception):
    """The migrations and the database do not go together: somebody must look."""


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path) -> list[Migration]:
    """The migrations of a folder in their order. Raises MigrationError."""
    found: list[Migration] = []
    for file in sorted(folder.glob("*.sql")):
        name = _NAME.fullmatch(file.name)
        if name is None or int(name[1]) != len(found) + 1:
            raise MigrationError(f"{file.name} must be called {len(found) + 1:04}_what_it_does.sql")
        found.append(Migration(int(name[1]), file.name, file.read_text(encoding="utf-8")))
    return found


def plan(migrations: Sequence[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """Those to run, given the digests of those that were. Raises MigrationError if one was changed since."""
    for migration in migrations:
        if applied.get(migration.number, migration.sha256) != migration.sha256:
            raise MigrationError(f"{migration.name} was changed after it had been applied; add another one instead")
    return [migration for migration in migrations if migration.number not in applied]


def run(settings: Settings, migrations: Sequence[Migration]) -> int:
    """Apply what is missing; return how much that was. Raises psycopg.Error and MigrationError."""
    with _connect(settings) as connection:
        # Whoever comes second waits here, and then finds everything done. The lock ends with the connection.
        connection.execute("SELECT pg_advisory_lock(hashtext('newscast.migrations'))")
        connection.execute(_RECORDS)
        applied = dict(connection.execute("SELECT number, sha256 FROM migrations").fetchall())
        missing = plan(migrations, applied)
        for migration in missing:
            with connection.transaction():
                connection.execute(migration.sql)
                record = "INSERT INTO migrations (number, name, sha256) VALUES (%s, %s, %s)"
                connection.execute(record, (migration.number, migration.name, migration.sha256))
            _log.info("applied %s", migration.name)
        if set(applied) - {migration.number for migration in migrations}:
            _log.info("the tables are of a newer release, and are left as they are")
        return len(missing)


def _connect(settings: Settings) -> t.Any:
    """A connection, as soon as the database takes one."""
    import psycopg

    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return psycopg.connect(
                settings.database, password=settings.password or None, connect_timeout=3, autocommit=True
            )
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise
            _log.info("waiting for the database: %s", str(error).splitlines()[0])
            time.sleep(1)


def main() -> int:
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    try:
        count = run(read_settings(os.environ), read_migrations(FOLDER))
    except SettingsError as error:
        print(f"newscast_api.migrate: {error}", file=sys.stderr)
        return 78  # EX_CONFIG
    except MigrationError as error:
        print(f"newscast_api.migrate: {error}", file=sys.stderr)
        return 65  # EX_DATAERR
    _log.info("the tables are up to date, %d migrations were applied", count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
