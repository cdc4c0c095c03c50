import itertools
import math

import numpy as np
import pyarrow as pa
import pytest

from catalog.errors import UserError
from filters.shared import fasttext
from filters.shared.text import buffers
from tests.filters.fasttext_samples import languages, write
from tests.filters.text_samples import HOSTILE


def ask(path, *texts):
    raw = buffers(pa.array(texts, pa.large_string()))
    return fasttext.probabilities(fasttext.load(path), raw, raw.valid)


def fnv(text):
    h = 2166136261
    for b in text.encode():
        h = ((h ^ (b | 0xFFFFFF00 if b > 127 else b)) * 16777619) & 0xFFFFFFFF
    return h


def softmax(*values):
    e = [math.exp(v) for v in values]
    return [x / sum(e) + 1e-5 for x in e]


def test_a_text_is_the_mean_of_its_words(tmp_path):
    path = languages(tmp_path / "m.bin")
    assert fasttext.load(path).labels == ("en", "de", "fr")
    # "der", "the" and the end of the line: (1 + 8, 8, 0) / 3, times 4. "foo" and "__label__de" are no words of the model.
    for text in ("der foo the", "der\nthe", "\tder\r\vthe\x00 __label__de __label__xx"):
        assert ask(path, text)[0] == pytest.approx(softmax(12, 32 / 3, 0), abs=1e-6)
    assert ask(path, "")[0] == pytest.approx(softmax(4, 0, 0), abs=1e-6), "the end of the line is a word"
    assert ask(path, "</s> der")[0] == pytest.approx(softmax(4, 0, 0), abs=1e-6), "and ends it"
    assert ask(path, None, "und").tolist()[0] == [0, 0, 0]


def test_character_and_word_ngrams(tmp_path):
    words, buckets = ["</s>", "né"], 64
    vectors = np.random.default_rng(0).normal(size=(2 + buckets, 5)).astype(np.float32)
    outputs = np.random.default_rng(1).normal(size=(2, 5))
    path = write(
        tmp_path / "m.bin", [(w, 1) for w in words], [("a", 2), ("b", 1)], vectors, outputs,
        buckets=buckets, shortest=2, longest=3, word_ngrams=2,
    )  # fmt: skip
    grams = ["<n", "<né", "né", "né>", "é>", "<x", "<x>", "x>"]  # `n` alone is inside neither
    rows = [1, *(2 + fnv(g) % buckets for g in grams), 0]
    signed = [h - 2**32 if h >= 2**31 else h for h in (fnv("né"), fnv("x"), fnv("</s>"))]
    for one, two in itertools.pairwise(signed):
        rows.append(2 + ((one % 2**64) * 116049371 + two) % 2**64 % buckets)
    mean = vectors[rows].mean(axis=0)
    assert ask(path, "né x")[0] == pytest.approx(softmax(*(outputs @ mean)), abs=1e-6)
    # Pruned: two buckets are left.
    kept = {fnv("<n") % buckets: 1, fnv("x>") % buckets: 0}
    path = write(
        tmp_path / "p.bin", [(w, 1) for w in words], [("a", 2), ("b", 1)], vectors[:4], outputs,
        buckets=buckets, shortest=2, longest=3, word_ngrams=1, kept=kept,
    )  # fmt: skip
    hits = [kept[fnv(g) % buckets] for g in grams if fnv(g) % buckets in kept]
    mean = vectors[[1, *(2 + h for h in hits), 0]].mean(axis=0)
    assert ask(path, "né x")[0] == pytest.approx(softmax(*(outputs @ mean)), abs=1e-6)


def test_hierarchical_softmax_and_sigmoids(tmp_path):
    labels = [("en", 50), ("de", 20), ("fr", 10)]
    outputs = [[0.5, -1.0], [2.0, 0.25], [7.0, 7.0]]
    path = write(tmp_path / "h.bin", [("</s>", 9)], labels, [[1.0, 2.0]], outputs, loss=1)
    # The tree: fr and de meet in the first node, that and en in the second; its first child is the lighter one.
    first, second = (1 / (1 + math.exp(-(o[0] + 2 * o[1]))) for o in outputs[:2])
    want = [second, (1 - second) * first, (1 - second) * (1 - first)]
    assert ask(path, "x")[0] == pytest.approx(want, abs=1e-4)
    path = write(tmp_path / "o.bin", [("</s>", 9)], labels, [[1.0, 2.0]], outputs, loss=4)
    want = [1 / (1 + math.exp(-(o[0] + 2 * o[1]))) for o in outputs]
    assert ask(path, "x")[0] == pytest.approx(want, abs=1e-2)


def test_one_label(tmp_path):
    path = write(tmp_path / "m.bin", [("</s>", 9)], [("all", 1)], [[1.0]], [[1.0]], loss=1)
    assert ask(path, "x").tolist() == [[1.0]]


def test_hostile(tmp_path):
    out = ask(languages(tmp_path / "m.bin"), *HOSTILE)
    assert out.sum(axis=1) == pytest.approx(1.0, abs=1e-4)


def test_errors(tmp_path):
    with pytest.raises(UserError, match="no fastText model"):
        fasttext.load(str(tmp_path / "none.bin"))
    path = tmp_path / "m.bin"
    path.write_bytes(b"hello, this is no model")
    with pytest.raises(UserError, match=r"is no fastText model of version 12"):
        fasttext.load(str(path))
    whole = (tmp_path / "m2.bin", languages(tmp_path / "m2.bin"))[0].read_bytes()
    for size in (20, 70, 100, 130, len(whole) - 4):
        cut = tmp_path / f"{size}.bin"
        cut.write_bytes(whole[:size])
        with pytest.raises(UserError, match="cut off or damaged"):
            fasttext.load(str(cut))
    with pytest.raises(UserError, match="supervised"):
        fasttext.load(write(tmp_path / "s.bin", [("a", 1)], [("l", 1)], [[1.0]], [[1.0]], kind=2))
