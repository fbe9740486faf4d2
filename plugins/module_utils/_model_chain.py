# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""SHA-256 whose state can be kept between two chunks and gone on from.

SHA-256 (FIPS 180-4, section 6.2) works through its input in blocks of 64 bytes; all that it carries from one block to
the next is a chain value of 256 bits. Who keeps the chain value at the end of every chunk of a file gets, for no
further hashing, what proves each chunk alone: a chunk is right if, started with the chain value before it, it leads to
the one after it; and if the first starts as SHA-256 does and the last ends in the pinned digest, the chunks together
have that digest, whoever wrote the values down. So chunks can be read again on all cores, wrong ones have names, and a
transfer can go on where it was.

Python's hashlib does not hand the chain value out. The functions of libcrypto below it do (SHA256_Init and so on; the
layout of their context is that of OpenSSL's public header sha.h, the same since 0.9.8): the very library that this
Python's hashlib uses is called through ctypes, and only after it has shown on known values that it does what is
expected. Where it cannot be had (a Python that links it statically), hashlib does the work: everything is verified
just the same, but only as a whole.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import struct
import typing as t

BLOCK = 64  # bytes; a chain value exists after each
_CONTEXT_BYTES = 112  # h[8], Nl, Nh, data[16], num, md_len: 28 words
_STATE = struct.Struct("=8I")
_COUNT = struct.Struct("=2I")  # Nl, Nh: length so far in bits, low word first
_INITIAL = bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")  # FIPS 180-4, 5.3.3


class Hash(t.Protocol):
    """What both kinds of SHA-256 do."""

    def update(self, data: t.Any) -> None: ...
    def hexdigest(self) -> str: ...
    def state(self) -> str: ...


class WholeHash:
    """SHA-256 by hashlib: no chain values."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, data: t.Any) -> None:
        self._hash.update(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def state(self) -> str:
        """Return nothing: this kind does not know its chain value."""
        return ""


class ChainHash:
    """SHA-256 by libcrypto; `state` and `length` (bytes, a multiple of 64) continue where another one was."""

    def __init__(self, library: ctypes.CDLL, state: str = "", length: int = 0) -> None:
        self._library = library
        # Twice what it needs: a library with a larger context would fail its proof, not write into the heap.
        self._context = ctypes.create_string_buffer(2 * _CONTEXT_BYTES)
        library.SHA256_Init(self._context)
        if state:
            words = struct.unpack(">8I", bytes.fromhex(state))
            _STATE.pack_into(self._context, 0, *words)
            _COUNT.pack_into(self._context, _STATE.size, (length << 3) & 0xFFFFFFFF, length >> 29)

    def update(self, data: t.Any) -> None:
        """Take bytes in, from a writable buffer without copying them. Other threads run meanwhile."""
        view = memoryview(data)
        if not view.nbytes:
            return
        source = (ctypes.c_char * view.nbytes).from_buffer(view) if not view.readonly else bytes(view)
        self._library.SHA256_Update(self._context, source, ctypes.c_size_t(view.nbytes))

    def hexdigest(self) -> str:
        copy = ctypes.create_string_buffer(self._context.raw, len(self._context))  # Final ends what it is given
        digest = ctypes.create_string_buffer(32)
        self._library.SHA256_Final(digest, copy)
        return digest.raw.hex()

    def state(self) -> str:
        """Return the chain value in hex. It stands for all input so far only after whole blocks of 64 bytes."""
        return struct.pack(">8I", *_STATE.unpack_from(self._context.raw, 0)).hex()


def new_hash(state: str = "", length: int = 0) -> Hash:
    """Return a SHA-256, from the beginning, or from a chain value and the bytes before it.

    Raises:
        ValueError: to go on from a chain value is asked for where `chains` is False.
    """
    library = _library()
    if library is not None:
        return ChainHash(library, state, length)
    if state:
        raise ValueError("this Python gives no access to chain values")
    return WholeHash()


def chains() -> bool:
    """Whether chain values can be had on this host."""
    return _library() is not None


@functools.lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(_loaded("libcrypto.so"))
        for name in ("SHA256_Init", "SHA256_Update", "SHA256_Final"):
            getattr(library, name)
    except (AttributeError, OSError):
        return None
    return library if _proves_itself(library) else None


def _loaded(name: str) -> str:
    """Return the path of a library that this process has loaded, as importing hashlib does.

    Raises:
        OSError: it has not.
    """
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            if path.rpartition("/")[2].startswith(name):
                return "/" + path
    raise OSError(f"{name} is not loaded")


def _proves_itself(library: ctypes.CDLL) -> bool:
    """Whether the library gives SHA-256, its chain values, and goes on from them with the right length."""
    data = bytes(range(256)) * 5
    started = ChainHash(library)
    if started.state() != _INITIAL.hex():
        return False
    started.update(bytearray(data[: 4 * BLOCK]))
    resumed = ChainHash(library, started.state(), 4 * BLOCK)
    resumed.update(data[4 * BLOCK :])
    return resumed.hexdigest() == hashlib.sha256(data).hexdigest()
