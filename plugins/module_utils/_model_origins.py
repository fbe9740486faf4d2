# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Which origin opens which kind of source."""

from __future__ import annotations

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_depot import DepotOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_file import FileOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import HttpOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_hub import HubOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_oci import OciOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network, Origin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import HostPip, PipOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import (
    DepotSource,
    FileSource,
    HttpSource,
    HubSource,
    OciSource,
    Source,
)


def make_origin(source: Source, network: Network, pip: HostPip, scratch_folder: str, retries: int) -> Origin:
    """Return what opens `source`, and all others whose `origin` is equal to its own. Close it in the end.

    `scratch_folder` takes what pip downloads, `retries` is how often pip tries by itself.

    Raises:
        ModelError: with reason `invalid`; the proxy in `network` is none.
    """
    if isinstance(source, HttpSource):
        return HttpOrigin(network)
    if isinstance(source, HubSource):
        return HubOrigin(network)
    if isinstance(source, OciSource):
        return OciOrigin(network)
    if isinstance(source, DepotSource):
        return DepotOrigin()
    if isinstance(source, FileSource):
        return FileOrigin()
    return PipOrigin(pip, scratch_folder, network.stall_timeout, retries)
