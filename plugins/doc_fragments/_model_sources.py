# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that asks sources of models."""

    DOCUMENTATION = r"""
options:
  connect_timeout:
    description:
      - Seconds until a connection must stand.
    type: float
    default: 10
  stall_timeout:
    description:
      - Seconds for which a connection may bring nothing before it counts as broken.
    type: float
    default: 60
  retries:
    description:
      - How often a request is tried again after a failure that may pass (a broken or truncated transfer, the answers
        408, 425, 429, 500, 502, 503 and 504).
    type: int
    default: 4
  retry_delay:
    description:
      - Seconds before the first try again. Each further delay is twice the one before, none is more than 60 s, and
        each one is cut by a random part of up to a half. A server that asks for more gets it, up to 60 s.
    type: float
    default: 1
  proxy:
    description:
      - URL of the proxy for http and https. User and password may be in it. It is not for pip, which has its own
        configuration.
      - Without it, the host's environment counts (E(http_proxy), E(https_proxy), E(no_proxy)).
    type: str
  ca_path:
    description:
      - PEM file on the host with authorities to trust besides the system's. It is not for pip.
    type: path
  hub_url:
    description:
      - Where V(hf://) sources are, for a mirror of the hub.
    type: str
    default: https://huggingface.co
  hub_token:
    description:
      - Token for the hub, for private and gated repositories. It is sent to O(hub_url) and to no other host.
      - Without it, E(HF_TOKEN) in the host's environment counts.
    type: str
  registry_username:
    description:
      - User for V(oci://) sources.
    type: str
  registry_password:
    description:
      - Password for V(oci://) sources, or a token that the registry takes for one. It is sent to the registries that
        ask for it, or to who gives their tokens, and to no other host.
    type: str
"""
