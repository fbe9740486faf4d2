# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import math
import typing as t

import numpy as np
import pytest
from emorobcare_api.embedding import (
    Array,
    Embedder,
    Encoder,
    ModelError,
    Shape,
    batches,
    build_encoder,
    gelu,
    mean_pool,
    normalise,
    softmax,
)

SHAPE = Shape(heads=2, layers=2, epsilon=1e-12)
WIDTH, WORDS, PLACES, WIDE = 8, 20, 16, 12
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "num_attention_heads": 12,
    "num_hidden_layers": 6,
    "layer_norm_eps": 1e-12,
}


def tiny_tensors() -> dict[str, Array]:
    """The tensors of a BERT of two small layers, named as in a checkpoint."""
    random = np.random.default_rng(7)

    def make(*shape: int) -> Array:
        return random.normal(0, 0.5, shape).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": make(WORDS, WIDTH),
        "embeddings.position_embeddings.weight": make(PLACES, WIDTH),
        "embeddings.token_type_embeddings.weight": make(2, WIDTH),
        "embeddings.LayerNorm.weight": make(WIDTH),
        "embeddings.LayerNorm.bias": make(WIDTH),
    }
    for layer in range(SHAPE.layers):
        sizes = {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (WIDE, WIDTH),
            "output.dense": (WIDTH, WIDE),
        }
        for name, (outputs, inputs) in sizes.items():
            tensors[f"encoder.layer.{layer}.{name}.weight"] = make(outputs, inputs)
            tensors[f"encoder.layer.{layer}.{name}.bias"] = make(outputs)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors[f"encoder.layer.{layer}.{name}.weight"] = make(WIDTH)
            tensors[f"encoder.layer.{layer}.{name}.bias"] = make(WIDTH)
    return tensors


def reference(tensors: t.Mapping[str, Array], ids: t.Sequence[int]) -> list[float]:
    """The same network for one text, token by token, in double precision and without numpy's operators."""
    table = {name: tensor.astype(float).tolist() for name, tensor in tensors.items()}

    def linear(name: str, x: list[float]) -> list[float]:
        rows = zip(table[f"{name}.weight"], table[f"{name}.bias"], strict=True)
        return [math.fsum(a * b for a, b in zip(row, x, strict=True)) + bias for row, bias in rows]

    def norm(name: str, x: list[float]) -> list[float]:
        mean = math.fsum(x) / len(x)
        deviation = math.sqrt(math.fsum((a - mean) ** 2 for a in x) / len(x) + SHAPE.epsilon)
        parts = zip(x, table[f"{name}.weight"], table[f"{name}.bias"], strict=True)
        return [(a - mean) / deviation * scale + shift for a, scale, shift in parts]

    def plus(*vectors: list[float]) -> list[float]:
        return [math.fsum(numbers) for numbers in zip(*vectors, strict=True)]

    def attend(layer: str, xs: list[list[float]]) -> list[list[float]]:
        query, key, value = (
            [linear(f"{layer}.attention.self.{part}", x) for x in xs] for part in ("query", "key", "value")
        )
        size = WIDTH // SHAPE.heads
        mixed: list[list[float]] = [[] for _x in xs]
        for head in range(SHAPE.heads):
            of = slice(head * size, (head + 1) * size)
            for place, q in enumerate(query):
                scores = [math.fsum(a * b for a, b in zip(q[of], k[of], strict=True)) / math.sqrt(size) for k in key]
                weights = [math.exp(score) for score in scores]
                for column in range(size):
                    total = math.fsum(w * v[of][column] for w, v in zip(weights, value, strict=True))
                    mixed[place].append(total / math.fsum(weights))
        return mixed

    places = table["embeddings.position_embeddings.weight"]
    kind = table["embeddings.token_type_embeddings.weight"][0]
    words = table["embeddings.word_embeddings.weight"]
    xs = [norm("embeddings.LayerNorm", plus(words[word], places[i], kind)) for i, word in enumerate(ids)]
    for number in range(SHAPE.layers):
        layer = f"encoder.layer.{number}"
        mixed = attend(layer, xs)
        dense, normed = f"{layer}.attention.output.dense", f"{layer}.attention.output.LayerNorm"
        xs = [norm(normed, plus(x, linear(dense, m))) for x, m in zip(xs, mixed, strict=True)]
        for place, x in enumerate(xs):
            wide = [0.5 * a * (1 + math.erf(a / math.sqrt(2))) for a in linear(f"{layer}.intermediate.dense", x)]
            xs[place] = norm(f"{layer}.output.LayerNorm", plus(x, linear(f"{layer}.output.dense", wide)))
    mean = [math.fsum(column) / len(xs) for column in zip(*xs, strict=True)]
    length = math.sqrt(math.fsum(a * a for a in mean))
    return [a / length for a in mean]


@pytest.fixture
def encoder() -> Encoder:
    return build_encoder(tiny_tensors(), SHAPE)


@pytest.mark.parametrize("ids", [[3], [1, 2, 3], [5, 5, 19, 0, 7, 11, 2]])
def test_the_encoder_computes_what_an_independent_one_does(encoder: Encoder, ids: list[int]) -> None:
    row = np.array([ids], dtype=np.int64)
    np.testing.assert_allclose(encoder(row, np.ones_like(row))[0], reference(tiny_tensors(), ids), atol=2e-6)


def test_padding_changes_no_vector(encoder: Encoder) -> None:
    short, long = [4, 9], [4, 9, 1, 1, 17]
    ids = np.array([[*short, 13, 13, 13], long], dtype=np.int64)
    mask = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=np.int64)
    both = encoder(ids, mask)
    np.testing.assert_allclose(both[0], reference(tiny_tensors(), short), atol=2e-6)
    np.testing.assert_allclose(both[1], reference(tiny_tensors(), long), atol=2e-6)


def test_texts_keep_their_order_and_one_pass_never_exceeds_its_limit(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["3 4 5", "6", "1 2 3 4 5 6", "7 8", "9"]
    monkeypatch.setattr("emorobcare_api.embedding.batches", lambda lengths: batches(lengths, limit=6))
    embedder = Embedder(encoder, lambda given: [[int(word) for word in text.split()] for text in given])
    vectors = embedder.embed(texts)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, reference(tiny_tensors(), [int(word) for word in text.split()]), atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("lengths", "limit", "groups"),
    [
        ([], 10, []),
        ([3], 10, [[0]]),
        ([5, 1, 5, 1], 10, [[1, 3], [0, 2]]),
        ([20], 10, [[0]]),
        ([20, 1, 20], 10, [[1], [0], [2]]),
        ([2, 2, 2, 2, 2, 2], 10, [[0, 1, 2, 3, 4], [5]]),
    ],
)
def test_like_lengths_run_together_within_the_limit(lengths: list[int], limit: int, groups: list[list[int]]) -> None:
    assert batches(lengths, limit) == groups


def test_gelu_is_exact_to_single_precision() -> None:
    x = np.linspace(-8, 8, 4001, dtype=np.float32)
    exact = [0.5 * a * (1 + math.erf(a / math.sqrt(2))) for a in x.astype(float)]
    np.testing.assert_allclose(gelu(x.copy()), exact, atol=1e-6)


def test_softmax_survives_large_scores() -> None:
    scores = np.array([[1000.0, 1000.0, -1e9]], dtype=np.float32)
    np.testing.assert_allclose(softmax(scores), [[0.5, 0.5, 0]], atol=1e-7)


def test_a_text_without_tokens_has_a_vector_of_zeros_and_no_division_by_zero() -> None:
    nothing = mean_pool(np.ones((1, 2, 4), dtype=np.float32), np.zeros((1, 2), dtype=np.int64))
    np.testing.assert_array_equal(normalise(nothing), np.zeros((1, 4)))


def test_a_missing_tensor_is_named() -> None:
    tensors = tiny_tensors()
    del tensors["encoder.layer.1.output.dense.bias"]
    with pytest.raises(ModelError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        build_encoder(tensors, SHAPE)


def test_the_configuration_is_read() -> None:
    assert Shape.parse(json.dumps(CONFIG)) == Shape(heads=12, layers=6, epsilon=1e-12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "model_type"),
        (json.dumps({**CONFIG, "model_type": "gpt2"}), "gpt2"),
        (json.dumps({**CONFIG, "hidden_act": "relu"}), "relu"),
        (json.dumps({**CONFIG, "num_attention_heads": None}), "cannot be read"),
    ],
)
def test_another_models_configuration_is_refused(text: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        Shape.parse(text)
