# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the packages of the stack's images importable, here and in the processes that they start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

IMAGES = Path(__file__).parents[4] / "stacks" / "emorobcare" / "images"
PACKAGES = [str(IMAGES / name) for name in ("api", "asr", "fuseki-job")]

sys.path[:0] = PACKAGES
os.environ["PYTHONPATH"] = os.pathsep.join([*PACKAGES, *filter(None, [os.environ.get("PYTHONPATH")])])
