# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Find python-tuf: what the host has, or the archive that it was given with its verifier."""

from __future__ import annotations

import importlib
import os
import sys

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError

LIBRARY = "/usr/local/lib/fleet/fleet-libraries.zip"
"""What pack_libraries() made: tuf, securesystemslib, and urllib3, which tuf imports although we never use it."""

_OLDEST = 7  # with it the trusted root must be passed


def need_tuf(library: str = LIBRARY) -> None:
    """Make `import tuf` work.

    Raises:
        DepotError: there is none (`library_missing`).
    """
    if _usable():
        return
    if os.path.exists(library) and library not in sys.path:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tuf", "securesystemslib")]:
            del sys.modules[name]  # the host's own, which is too old
        sys.path.insert(0, library)
        importlib.invalidate_caches()
        if _usable():
            return
        sys.path.remove(library)
    raise DepotError(
        f"this host has no python-tuf {_OLDEST} or later for {sys.executable}, without which no depot can be verified, "
        f"and no {library} that brings it. Run the role emorobcare.fleet.depot on the host; on a controller: "
        "pip install -r requirements.txt",
        reason="library_missing",
    )


def _usable() -> bool:
    try:
        version = importlib.import_module("tuf").__version__
        importlib.import_module("tuf.ngclient")
    except ImportError:
        return False
    return int(version.partition(".")[0]) >= _OLDEST
