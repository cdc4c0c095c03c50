"""A writer of small fastText models, after the file format of fastText 0.9.2."""

import struct

import numpy as np


def write(
    path, words, labels, vectors, outputs, *, loss=3, buckets=0, shortest=0, longest=0, word_ngrams=1, kept=None,
    version=12, kind=3,
):  # fmt: skip
    """Write a model; `words` and `labels` are (text, count), `vectors` the rows of words and buckets."""
    vectors, outputs = np.asarray(vectors, "<f4"), np.asarray(outputs, "<f4")
    out = struct.pack("<ii", 793712314, version)
    out += struct.pack("<12i", vectors.shape[1], 5, 5, 1, 5, word_ngrams, loss, kind, buckets, shortest, longest, 100)
    out += struct.pack("<d", 1e-4)
    pairs = list((kept or {}).items())
    out += struct.pack(
        "<iiiqq", len(words) + len(labels), len(words), len(labels), 100, -1 if kept is None else len(pairs)
    )
    for entries, mark in ((words, 0), (labels, 1)):
        for text, count in entries:
            out += (("__label__" + text) if mark else text).encode() + b"\0" + struct.pack("<qb", count, mark)
    for pair in pairs:
        out += struct.pack("<ii", *pair)
    for matrix in (vectors, outputs):
        out += b"\0" + struct.pack("<qq", *matrix.shape) + matrix.tobytes()
    path.write_bytes(out)
    return str(path)


def languages(path):
    """Write a model that tells English, German and French by two words each and says English otherwise."""
    words = [(w, 9) for w in ("</s>", "the", "of", "der", "und", "le", "est")]
    vectors = [[1, 0, 0], [8, 0, 0], [8, 0, 0], [0, 8, 0], [0, 8, 0], [0, 0, 8], [0, 0, 8]]
    return write(path, words, [("en", 30), ("de", 20), ("fr", 10)], vectors, np.eye(3) * 4)
