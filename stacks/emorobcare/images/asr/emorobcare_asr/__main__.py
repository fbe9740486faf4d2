# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the service: ``python -m emorobcare_asr``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import uvicorn

from .app import create_app
from .recogniser import load_recogniser

PORT = 8001
LEVELS = ("debug", "info", "warning")
GRACE_SECONDS = 5  # for an utterance that is being decoded when the service is told to stop


def main() -> int:
    model = Path(os.environ.get("MODEL_DIR", "/models/pocketsphinx-en-us"))
    level = os.environ.get("LOG_LEVEL", "info")
    if level not in LEVELS:
        print(f"emorobcare_asr: LOG_LEVEL is {level!r}; allowed are {', '.join(LEVELS)}", file=sys.stderr)
        return 78  # EX_CONFIG
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s")
    uvicorn.run(
        create_app(lambda: load_recogniser(model)),
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
