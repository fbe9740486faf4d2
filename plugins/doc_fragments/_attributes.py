# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

from __future__ import annotations


class ModuleDocFragment:
    """Attributes that every module of this collection declares."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Returns details on what has changed (or would change in C(check_mode)).
  idempotent:
    description: When run twice in a row with the same arguments, the second run reports no change.
  action_group:
    description: Use C(group/emorobcare.fleet.fleet) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - emorobcare.fleet.fleet
"""
