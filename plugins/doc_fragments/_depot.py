# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that read a depot on a host."""

    DOCUMENTATION = r"""
options:
  depot:
    description:
      - The depot, as an absolute path of a folder on the host (where a stick is mounted), or as the URL of a folder
        behind a web server.
    type: str
    required: true
  ca_path:
    description:
      - PEM file on the host with authorities to trust besides the system's, for a depot behind C(https).
    type: path
  trust_anchor:
    description:
      - Folder on the host with what it was enrolled with.
    type: path
    default: /etc/fleet/trust
  trust_state:
    description:
      - Folder on the host with what it has accepted.
    type: path
    default: /var/lib/fleet/trust
  lock_timeout:
    description:
      - Seconds to wait for another run on the same host.
    type: float
    default: 60
"""
