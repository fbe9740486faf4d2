# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ChromaDB's server, which is the compiled part of its package and needs none of the rest."""

from __future__ import annotations

import chromadb_rust_bindings

chromadb_rust_bindings.cli(["chroma", "run", "--path", "/data", "--host", "0.0.0.0", "--port", "8000"])
