# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sentence embeddings by all-MiniLM-L6-v2, a BERT encoder, in plain numpy.

Source of the computation: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019), and the
model's own configuration: six layers, exact (erf) GELU, mean pooling over the tokens, L2 normalisation, at most
256 tokens. Layers are normalised after the residual, as in the original transformer.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Array = np.ndarray[t.Any, np.dtype[np.float32]]
Ints = np.ndarray[t.Any, np.dtype[np.int64]]

DIMENSIONS = 384  # of all-MiniLM-L6-v2
MAX_TOKENS = 256
MAX_BATCH_TOKENS = 4096  # padded tokens in one pass: bounds the memory of a batch (about 25 MB a layer)
MASKED = np.float32(-1e9)


class ModelError(Exception):
    """The model's files are missing, or are not those of a BERT sentence encoder."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """What the model's config.json says."""

    heads: int
    layers: int
    epsilon: float

    @classmethod
    def parse(cls, text: str) -> t.Self:
        """Read config.json. Raises ModelError if it is not one of a BERT encoder."""
        try:
            config = json.loads(text)
            kind = (config["model_type"], config["hidden_act"])
            if kind != ("bert", "gelu"):
                raise ModelError(f"config.json describes a model of {kind}; this code runs ('bert', 'gelu')")
            return cls(
                heads=int(config["num_attention_heads"]),
                layers=int(config["num_hidden_layers"]),
                epsilon=float(config["layer_norm_eps"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"config.json cannot be read as a model's configuration: {error!r}") from error


@dataclasses.dataclass(frozen=True)
class Linear:
    weight: Array  # (inputs, outputs)
    bias: Array

    def __call__(self, x: Array) -> Array:
        y: Array = x @ self.weight
        y += self.bias
        return y


@dataclasses.dataclass(frozen=True)
class Norm:
    scale: Array
    shift: Array
    epsilon: float

    def __call__(self, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.mean(np.square(centred), axis=-1, keepdims=True)
        centred /= np.sqrt(variance + np.float32(self.epsilon))
        centred *= self.scale
        centred += self.shift
        return t.cast(Array, centred)


@dataclasses.dataclass(frozen=True)
class Layer:
    query_key_value: Linear
    attended: Linear
    attended_norm: Norm
    widen: Linear
    narrow: Linear
    norm: Norm
    heads: int

    def __call__(self, x: Array, bias: Array) -> Array:
        x = self.attended_norm(x + self.attended(self.attention(x, bias)))
        return self.norm(x + self.narrow(gelu(self.widen(x))))

    def attention(self, x: Array, bias: Array) -> Array:
        """Scaled dot-product attention over all heads; ``bias`` (B, 1, 1, T) hides the padding."""
        batch, tokens, width = x.shape
        head = width // self.heads
        parts = self.query_key_value(x).reshape(batch, tokens, 3, self.heads, head)
        query, key, value = parts.transpose(2, 0, 3, 1, 4)  # each (B, heads, T, head)
        scores = query @ key.swapaxes(-1, -2)
        scores *= np.float32(head**-0.5)
        scores += bias
        mixed = softmax(scores) @ value
        return t.cast(Array, mixed.transpose(0, 2, 1, 3).reshape(batch, tokens, width))


@dataclasses.dataclass(frozen=True)
class Encoder:
    """The network: token ids in, one vector of length one a row out."""

    words: Array
    places: Array  # positions, with the one token type already added
    norm: Norm
    layers: tuple[Layer, ...]

    @property
    def dimensions(self) -> int:
        return int(self.words.shape[1])

    def __call__(self, ids: Ints, mask: Ints) -> Array:
        """Encode ``ids`` (B, T); ``mask`` (B, T) is 1 for a token and 0 for padding. Returns (B, dimensions)."""
        x = self.norm(self.words[ids] + self.places[: ids.shape[1]])
        bias = np.where(mask, np.float32(0), MASKED)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        return normalise(mean_pool(x, mask))


def gelu(x: Array) -> Array:
    """x * Phi(x), with erf by Abramowitz and Stegun 7.1.26 (absolute error below 1.5e-7, float32's own)."""
    z = np.abs(x)
    z *= np.float32(0.5**0.5)
    k = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
    tail = np.float32(1.061405429) * k
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail += np.float32(coefficient)
        tail *= k
    tail *= np.exp(-z * z)  # 1 - erf(|x| / sqrt 2)
    half = x * np.float32(0.5)
    return t.cast(Array, half + np.abs(half) * (np.float32(1) - tail))


def softmax(x: Array) -> Array:
    """Over the last axis, in place."""
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=-1, keepdims=True)
    return x


def mean_pool(x: Array, mask: Ints) -> Array:
    """The mean of the tokens that are not padding."""
    weights = mask[:, :, None].astype(np.float32)
    return t.cast(Array, (x * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), np.float32(1)))


def normalise(x: Array) -> Array:
    """Rows of length one."""
    return t.cast(Array, x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), np.float32(1e-12)))


def build_encoder(tensors: Mapping[str, Array], shape: Shape) -> Encoder:
    """Arrange a BERT checkpoint's tensors for the computation. Raises ModelError naming a tensor that is missing."""

    def tensor(name: str) -> Array:
        try:
            return np.ascontiguousarray(tensors[name], dtype=np.float32)
        except KeyError:
            raise ModelError(f"the weights have no tensor {name!r}") from None

    def linear(*names: str) -> Linear:
        return Linear(
            weight=np.ascontiguousarray(np.concatenate([tensor(f"{name}.weight") for name in names]).T),
            bias=np.concatenate([tensor(f"{name}.bias") for name in names]),
        )

    def norm(name: str) -> Norm:
        return Norm(tensor(f"{name}.weight"), tensor(f"{name}.bias"), shape.epsilon)

    def layer(number: int) -> Layer:
        name = f"encoder.layer.{number}"
        attention = f"{name}.attention.self"
        return Layer(
            query_key_value=linear(f"{attention}.query", f"{attention}.key", f"{attention}.value"),
            attended=linear(f"{name}.attention.output.dense"),
            attended_norm=norm(f"{name}.attention.output.LayerNorm"),
            widen=linear(f"{name}.intermediate.dense"),
            narrow=linear(f"{name}.output.dense"),
            norm=norm(f"{name}.output.LayerNorm"),
            heads=shape.heads,
        )

    return Encoder(
        words=tensor("embeddings.word_embeddings.weight"),
        places=tensor("embeddings.position_embeddings.weight") + tensor("embeddings.token_type_embeddings.weight")[0],
        norm=norm("embeddings.LayerNorm"),
        layers=tuple(layer(number) for number in range(shape.layers)),
    )


def batches(lengths: Sequence[int], limit: int = MAX_BATCH_TOKENS) -> list[list[int]]:
    """Group the indices of ``lengths`` so that like lengths run together and no group pads to more than ``limit``.

    One that is longer than ``limit`` by itself makes a group of its own.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Sorted: this one is the longest of its group so far, so it sets the group's padded length.
        if groups and (len(groups[-1]) + 1) * lengths[index] <= limit:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


class Tokenizer(t.Protocol):
    """What is needed of a tokenizer: the ids of each text, markers included, at most MAX_TOKENS of them."""

    def __call__(self, texts: Sequence[str]) -> list[list[int]]: ...


class Embedder:
    """Texts in, vectors out. Safe to share between threads."""

    def __init__(self, encoder: Encoder, tokenizer: Tokenizer) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        # One pass at a time: two would share the same processor and the same caches.
        self._lock = threading.Lock()

    @property
    def dimensions(self) -> int:
        return self._encoder.dimensions

    def embed(self, texts: Sequence[str]) -> Array:
        """One row of length one for each text, in order."""
        rows = self._tokenizer(texts)
        vectors = np.empty((len(rows), self._encoder.dimensions), dtype=np.float32)
        for group in batches([len(row) for row in rows]):
            ids = np.zeros((len(group), max(len(rows[index]) for index in group)), dtype=np.int64)
            mask = np.zeros_like(ids)
            for place, index in enumerate(group):
                ids[place, : len(rows[index])] = rows[index]
                mask[place, : len(rows[index])] = 1
            with self._lock:
                vectors[group] = self._encoder(ids, mask)
        return vectors


def load_embedder(folder: Path) -> Embedder:
    """Load the model from ``folder``. Raises ModelError naming the file that is missing or damaged."""
    import safetensors
    import safetensors.numpy
    import tokenizers

    try:
        shape = Shape.parse((folder / "config.json").read_text(encoding="utf-8"))
        encoder = build_encoder(safetensors.numpy.load_file(folder / "model.safetensors"), shape)
        words = tokenizers.Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"the model in {folder} cannot be read: {error}") from error
    except safetensors.SafetensorError as error:
        raise ModelError(f"{folder / 'model.safetensors'} is damaged: {error}") from error
    words.enable_truncation(MAX_TOKENS)
    words.no_padding()

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in words.encode_batch(list(texts))]

    return Embedder(encoder, tokenize)
