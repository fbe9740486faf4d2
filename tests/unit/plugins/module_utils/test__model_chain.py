# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ctypes
import hashlib
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_chain
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_chain import WholeHash, chains, new_hash
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import noise, sha256

INITIAL = "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
needs_chains = pytest.mark.skipif(not chains(), reason="this Python has no libcrypto of its own")


@pytest.fixture(name="library", autouse=True)
def library_fixture() -> t.Iterator[None]:
    """Have the library looked for again, in the test and after it."""
    _model_chain._library.cache_clear()
    yield
    _model_chain._library.cache_clear()


@pytest.fixture(name="no_library")
def no_library_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> str:
        raise OSError(f"{name} is not loaded")

    monkeypatch.setattr(_model_chain, "_loaded", none)


VECTORS: list[tuple[bytes, str]] = [
    # FIPS 180-4 and NIST's examples
    (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ),
    (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
]


@pytest.mark.parametrize(("data", "digest"), VECTORS, ids=["empty", "abc", "two blocks", "a million"])
@pytest.mark.parametrize("kind", ["library", "no_library"])
def test_known_vectors_have_their_digests_with_a_library_and_without(
    data: bytes, digest: str, kind: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(kind)
    hasher = new_hash()
    hasher.update(data)
    assert hasher.hexdigest() == digest


@needs_chains
@pytest.mark.parametrize("cut", [64, 128, 4096, 64 * 1000])
def test_going_on_from_a_state_ends_in_the_same_digest(cut: int) -> None:
    data = noise(64 * 1000 + 13)
    before = new_hash()
    before.update(data[:cut])
    after = new_hash(before.state(), cut)
    after.update(data[cut:])
    assert after.hexdigest() == sha256(data)
    assert before.hexdigest() == sha256(data[:cut])  # and the one before is not disturbed


@needs_chains
def test_the_state_is_the_initial_one_before_any_byte_and_the_digest_in_all_but_padding() -> None:
    hasher = new_hash()
    assert hasher.state() == INITIAL
    # The digest is the chain value after the padding, so it can be had by hashing that, too.
    hasher.update(b"abc" + b"\x80" + bytes(52) + (24).to_bytes(8, "big"))
    assert hasher.state() == VECTORS[1][1]


@needs_chains
def test_the_digest_can_be_asked_for_at_any_time_and_does_not_end_the_hash() -> None:
    hasher = new_hash()
    for data, so_far in ((b"ab", b"ab"), (b"c", b"abc")):
        hasher.update(data)
        assert hasher.hexdigest() == hasher.hexdigest() == sha256(so_far)


@needs_chains
def test_the_lengths_high_word_counts_beyond_half_a_gibibyte() -> None:
    # 2**29 bytes are 2**32 bits: the first length that does not fit the low word.
    piece = bytes(1 << 20)
    hasher, whole = new_hash(), hashlib.sha256()
    for _number in range(513):
        hasher.update(piece)
        whole.update(piece)
    after = new_hash(hasher.state(), 513 << 20)
    for each in (hasher, after, whole):
        each.update(b"x")
    assert hasher.hexdigest() == after.hexdigest() == whole.hexdigest()


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(bytearray(data)),
        lambda data: memoryview(data).toreadonly(),
    ],
    ids=["bytes", "bytearray", "view of bytes", "view", "read-only view"],
)
@pytest.mark.parametrize("kind", ["library", "no_library"])
def test_every_kind_of_buffer_is_taken(
    make: t.Callable[[bytes], t.Any], kind: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(kind)
    hasher = new_hash()
    for data in (b"some", b"", b" bytes"):
        hasher.update(make(data))
    assert hasher.hexdigest() == sha256(b"some bytes")


@needs_chains
def test_a_part_of_a_buffer_is_hashed_alone_and_the_buffer_is_free_after() -> None:
    buffer = bytearray(b"--abc--")
    hasher = new_hash()
    hasher.update(memoryview(buffer)[2:5])
    assert hasher.hexdigest() == VECTORS[1][1]
    buffer.clear()  # would raise while anybody held on to it


@pytest.mark.usefixtures("no_library")
def test_without_a_library_there_are_digests_but_no_states() -> None:
    assert not chains()
    assert isinstance(new_hash(), WholeHash)
    assert new_hash().state() == ""
    with pytest.raises(ValueError, match="no access to chain values"):
        new_hash(INITIAL, 64)


def lying_init(context: t.Any) -> int:
    ctypes.memset(context, 7, 32)
    return 1


def lying_final(digest: t.Any, _context: t.Any) -> int:
    ctypes.memset(digest, 7, 32)
    return 1


@needs_chains
@pytest.mark.parametrize(
    "lies",
    [
        {"SHA256_Init": lying_init},  # another layout: the state is not where it is looked for
        {"SHA256_Update": lambda *_args: 1},
        {"SHA256_Final": lying_final},
        {"SHA256_Init": None},
    ],
    ids=["init", "update", "final", "a function is missing"],
)
def test_a_library_that_does_not_do_what_is_expected_is_not_used(
    monkeypatch: pytest.MonkeyPatch, lies: dict[str, t.Any]
) -> None:
    real = _model_chain._library()

    class Liar:
        def __init__(self, _path: str) -> None:
            pass

        def __getattr__(self, name: str) -> t.Any:
            if name not in lies:
                return getattr(real, name)
            if lies[name] is None:
                raise AttributeError(name)
            return lies[name]

    _model_chain._library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", Liar)
    assert not chains()


def test_a_library_that_was_replaced_on_the_disk_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # As the kernel shows it in /proc/self/maps.
    monkeypatch.setattr(_model_chain, "_loaded", lambda _name: "/usr/lib/libcrypto.so.3 (deleted)")
    assert not chains()
    assert isinstance(new_hash(), WholeHash)
