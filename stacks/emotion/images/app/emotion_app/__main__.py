# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the service: ``python -m emotion_app``."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from .app import Service, create_app
from .cache import RedisCache
from .classifier import Classifier
from .errors import SettingsError
from .sessions import Tokens
from .settings import read_settings
from .store import MysqlResults

PORT = 3000
GRACE_SECONDS = 5  # for requests that run when the service is told to stop


def main() -> int:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"emotion_app: {error}", file=sys.stderr)
        return 78  # EX_CONFIG
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    service = Service(
        lambda: Classifier(settings.model),
        MysqlResults(settings.database),
        RedisCache(settings.cache),
        settings.rate_limit,
    )
    uvicorn.run(
        create_app(service, Tokens(settings.jwt_secret), settings.allowed_origins),
        host="0.0.0.0",
        port=PORT,
        log_config=None,
        access_log=False,  # the health checks alone would fill it; /metrics counts requests
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
