# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the worker does with a sample."""

from __future__ import annotations

from .audio import read_wav
from .errors import SampleError
from .features import analyse
from .index import Index
from .library import Library


def finish(library: Library, index: Index, sample_id: str) -> bool:
    """Analyse a sample and keep what came out; False if there is none. Doing it again changes nothing.

    The index comes first: a sample is done only when it can be found. Raises StoreError.
    """
    sound = library.sound(sample_id)
    if sound is None:
        return False
    try:
        features = analyse(read_wav(sound))
    except SampleError as error:
        library.settle(sample_id, None, str(error))
        return True
    index.put(sample_id, features.vector)
    library.settle(sample_id, features.as_answer())
    return True
