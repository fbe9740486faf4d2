# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fail unless sshd goes by what one of its files says: FILE OPTION,... USER...

No `Include` may name the file, another may say something else first, or a `Match` block for one of the users. Where the
file is gone, as on the way back, there is nothing to go by.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SAME = {"prohibit-password": "without-password"}  # which of the two sshd prints depends on its version


def read(text: str) -> dict[str, str]:
    """Return values by options, both in small letters."""
    lines = (line.lower().split(None, 1) for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {words[0]: SAME.get(words[1].strip(), words[1].strip()) for words in lines if len(words) > 1}


def ask(user: str) -> dict[str, str]:
    """Return what sshd goes by for a user, or apart from all Match blocks for nobody."""
    about = ["-C", f"user={user},host=localhost,addr=127.0.0.1"] if user else []
    said = subprocess.run(["sshd", "-T", *about], capture_output=True, text=True, check=False)
    if said.returncode:
        sys.exit(f"sshd -T: {said.stderr.strip()}")
    return read(said.stdout)


def main() -> None:
    path, options, *users = sys.argv[1:]
    if not Path(path).exists():
        return
    wanted = {name: value for name, value in read(Path(path).read_text()).items() if name in options.lower().split(",")}
    for user in ("", *users):
        found = ask(user)
        for name, value in wanted.items():
            if found.get(name) != value:
                whose = f" for user {user}" if user else ""
                sys.exit(
                    f"sshd goes by {name} {found.get(name)}{whose}, while {path} says {value}\n"
                    "see that /etc/ssh/sshd_config has `Include /etc/ssh/sshd_config.d/*.conf` above all else, and "
                    "that no Match block and no file that is read before says otherwise"
                )


main()
