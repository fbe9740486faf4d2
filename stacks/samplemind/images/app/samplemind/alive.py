# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The health check of beat: exit 0 if its schedule is there and the process that writes it lives.

Process 1 is beat: while this runs in the container it is alive, so what counts is that it got as far as its schedule.
"""

from __future__ import annotations

import glob
import sys


def main() -> int:
    if glob.glob(f"{sys.argv[1]}*"):
        return 0
    print(f"{sys.argv[1]} does not exist: beat has not begun to ask")
    return 1


if __name__ == "__main__":
    sys.exit(main())
