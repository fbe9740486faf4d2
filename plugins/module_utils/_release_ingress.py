# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The ingress of a stack on this host: one container that stays, in front of the sides."""

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_candidate import Candidate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import Colour
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site


class Ingress:
    """Brings it up, turns it, and lets it end what it began."""

    def __init__(self, site: Site, stack: str) -> None:
        self._site, self._stack = site, stack

    def stand_before(self, sides: t.Sequence[Candidate], live: Colour) -> None:
        """Have it up in front of these sides, serving one."""

    def turn(self, colour: Colour, timeout: float) -> None:
        """Let it serve a side."""

    def turn_if_there(self, colour: Colour) -> None:
        """Let it serve a side if it is up."""

    def drain(self, colour: Colour, limit: float) -> None:
        """Wait until nothing that a side began is open any more."""
