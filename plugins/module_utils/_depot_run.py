# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""How what fills and unpacks depots starts commands: never by a shell, and by a stand-in in tests."""

from __future__ import annotations

import typing as t


class Runner(t.Protocol):
    """Starts commands."""

    def __call__(self, argv: t.Sequence[str], environment: t.Mapping[str, str]) -> tuple[int, str, str]:
        """Run a command with these variables besides its own; return exit code, standard output and error."""


def by_module(run_command: t.Callable[..., tuple[t.Any, t.Any, t.Any]]) -> Runner:
    """Return what starts commands by an AnsibleModule's `run_command`."""

    def run(argv: t.Sequence[str], environment: t.Mapping[str, str]) -> tuple[int, str, str]:
        code, out, err = run_command(list(argv), environ_update=dict(environment))
        return int(code), str(out), str(err)

    return run
