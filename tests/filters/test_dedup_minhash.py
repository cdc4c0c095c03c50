import inspect
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UserError
from filters import dedup_minhash
from filters.base import load
from filters.shared import minhash
from tests.filters.text_samples import PROSE, answers, batch, sample

f = load("dedup_minhash")


def clusters(b, filt=f):
    signed = pa.table({"id": b.column("id"), **dict(zip(filt.scores, filt.score(b), strict=True))})
    return {r["id"]: (r["cluster"], r["similarity"]) for r in filt.cluster(signed).to_pylist()}


def documents(n, words=200, seed=1):
    rng = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(3000)]
    return [rng.choices(vocabulary, k=words) for _ in range(n)]


def test_case_and_punctuation_do_not_matter():
    found = clusters(answers(PROSE, PROSE.upper().replace(",", " ;"), "Something quite different. " * 3 + PROSE[::-1]))
    assert found == {"s/00000": ("s/00000", 1.0), "s/00001": ("s/00000", 1.0)}


def test_short_texts_and_samples_with_media_do_not_apply():
    out = f.score(batch(sample("short"), sample(PROSE, image=True), sample(PROSE)))["signature"]
    assert [v.is_valid for v in out] == [False, False, True]
    assert len(out[2].as_py()) == 4 * 14 * 8
    assert load("dedup_minhash", {"media": True}).score(batch(sample(PROSE, image=True)))["signature"].null_count == 0


def test_finds_edited_copies_and_nothing_else():
    docs = documents(400)
    copies = [[*d[:100], "changed", *d[101:]] for d in docs[:100]]
    found = clusters(answers(*(" ".join(d) for d in docs + copies)))
    assert len(found) == 200
    assert all(found[f"s/{i:05d}"][0] == f"s/{i:05d}" == found[f"s/{400 + i:05d}"][0] for i in range(100))


def test_the_estimate_is_close_to_the_true_similarity():
    a, b = documents(2, 1000)
    mixed = a[:800] + b[:200]
    one, two = ({tuple(d[i : i + 5]) for i in range(len(d) - 4)} for d in (["tell", "me", *a], ["tell", "me", *mixed]))
    truth = len(one & two) / len(one | two)
    minima = [np.frombuffer(s.as_py(), "<u4") for s in f.score(answers(" ".join(a), " ".join(mixed)))["signature"]]
    assert abs((minima[0] == minima[1]).mean() - truth) < 0.12


def test_candidates_below_the_similarity_are_no_duplicates():
    a = documents(1, 300)[0]
    b = [*a[:150], *documents(1, 150, seed=2)[0]]
    loose = load("dedup_minhash", {"bands": 112, "rows": 1, "similarity": 0.1})
    strict = load("dedup_minhash", {"bands": 112, "rows": 1, "similarity": 0.7})
    pair = answers(" ".join(a), " ".join(b))
    assert len(clusters(pair, loose)) == 2
    assert clusters(pair, strict) == {}


def chain(links, step, words=400, seed=3):
    """Texts of which each shares all but `step` words with the one before it: neighbours are alike, the ends are not."""
    rng = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(3000)]
    text = rng.choices(vocabulary, k=words)
    out = []
    for i in range(links):
        out.append(" ".join(text))
        text = [*text[: i * step], *rng.choices(vocabulary, k=step), *text[(i + 1) * step :]]
    return out


def test_chains_are_cut_at_what_is_similar_to_the_representative():
    b = answers(*chain(12, 30))
    found = clusters(b)
    minima = {
        i: np.frombuffer(s, "<u4")
        for i, s in zip(b.column("id").to_pylist(), f.score(b).column("signature").to_pylist(), strict=True)
    }
    assert len({c for c, _ in found.values()}) > 2
    for member, (representative, similarity) in found.items():
        assert similarity >= 0.7
        assert found[representative] == (representative, 1.0)
        assert representative <= member
        assert abs((minima[member] == minima[representative]).mean() - similarity) < 1e-6
    # Nobody joins a later representative than the first that is similar enough, and no two representatives are alike.
    representatives = sorted({c for c, _ in found.values()})
    for member, (representative, _) in found.items():
        first = [r for r in representatives if r <= member and (minima[r] == minima[member]).mean() >= 0.7]
        assert first[0] == representative


def test_prompts_with_one_description_of_a_tool_are_not_all_one():
    tool = " ".join(f"option{i} says what the tool does in case {i} of its manual" for i in range(12))
    asks = [" ".join(f"{w}{i}" for w in ("please", "compute", "value", "about", "thing", "now")) for i in range(60)]
    found = clusters(answers(*(f"{' '.join(asks[k : k + 3])} {tool}" for k in range(57))))
    assert all(similarity >= 0.7 for _, similarity in found.values())


def test_the_clusters_do_not_depend_on_the_order_of_rows():
    texts = chain(25, 25) + chain(10, 60, seed=5)
    b = answers(*texts)
    signed = pa.table({"id": b.column("id"), "signature": f.score(b).column("signature")})
    want = f.cluster(signed)
    for seed in range(5):
        order = list(range(len(texts)))
        random.Random(seed).shuffle(order)
        assert f.cluster(signed.take(order)).equals(want)


def test_keys_of_a_band_are_shared_by_those_who_agree_in_it():
    docs = documents(20)
    b = answers(*(" ".join(d) for d in [*docs, [*docs[3][:100], "changed", *docs[3][101:]]]))
    signed = pa.table({"id": b.column("id"), "signature": f.score(b).column("signature")})
    keys = dedup_minhash.keys(signed)
    assert keys.schema == pa.schema([("row", pa.int64()), ("key", pa.uint64())])
    assert keys["row"].to_pylist() == [r for r in range(21) for _ in range(14)]
    at = keys["key"].to_numpy().reshape(21, 14)
    minima = np.stack([np.frombuffer(s.as_py(), "<u4") for s in signed["signature"]]).reshape(21, 14, 8)
    for i in range(21):
        for j in range(21):
            same = (minima[i] == minima[j]).all(1)
            assert set(at[i].tolist()) & set(at[j].tolist()) == set(at[i][same].tolist())
    assert dedup_minhash.keys(signed.slice(5, 3))["key"].to_pylist() == keys["key"].to_pylist()[5 * 14 : 8 * 14]
    assert dedup_minhash.keys(signed.slice(0, 0)).num_rows == 0


def test_alike_is_the_share_of_equal_minima_or_nothing():
    docs = chain(6, 30)
    b = answers(*docs)
    signed = pa.table({"id": b.column("id"), "signature": f.score(b).column("signature")})
    minima = np.stack([np.frombuffer(s.as_py(), "<u4") for s in signed["signature"]])
    i, j = np.triu_indices(6, 1)
    share = (minima[i] == minima[j]).mean(1)
    assert np.allclose(dedup_minhash.alike(signed, i, j), np.where(share >= 0.7, share, 0), atol=1e-12)
    assert (share < 0.7).any()
    assert (share >= 0.7).any()
    assert np.array_equal(dedup_minhash.alike(signed, i, j), dedup_minhash.alike(signed, j, i))
    chunked = pa.concat_tables([signed.slice(0, 2), signed.slice(2)])
    assert np.array_equal(dedup_minhash.alike(chunked, i, j), dedup_minhash.alike(signed, i, j))
    assert dedup_minhash.alike(signed, i[:0], j[:0]).tolist() == []


def texts_with(*shares, words=400, seed=7):
    """Texts that begin like the first and go on with words of their own, from `share` of the words on."""
    rng = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(5000)]
    text = rng.choices(vocabulary, k=words)
    cut = [round(share * words) for share in shares]
    return [text, *([*text[:c], *rng.choices(vocabulary, k=words - c)] for c in cut)]


def jaccard(a, b, n=5):
    one, two = ({tuple(t[i : i + n]) for i in range(len(t) - n + 1)} for t in (a, b))
    return len(one & two) / len(one | two)


def test_verified_by_the_true_jaccard_of_the_shingles():
    docs = [["tell", "me", *d] for d in texts_with(0.95, 0.9, 0.85, 0.8, 0.5, 0.1)]
    b = answers(*(" ".join(d[2:]) for d in docs))
    exact = load("dedup_minhash", {"verify": "jaccard", "similarity": 0.7, "bands": 40, "rows": 2})
    scores = exact.score(b)
    assert [len(s.as_py()) // 4 for s in scores["shingles"]] == [len(d) - 4 for d in docs]
    signed = pa.table({"id": b.column("id"), **dict(zip(exact.scores, scores, strict=True))})
    i, j = np.triu_indices(7, 1)
    truth = np.array([jaccard(docs[x], docs[y]) for x, y in zip(i, j, strict=True)])
    assert (truth < 0.7).any()
    assert (truth >= 0.7).any()
    for table in (signed, pa.concat_tables([signed.slice(0, 3), signed.slice(3)])):
        assert np.allclose(exact.alike(table, i, j), np.where(truth >= 0.7, truth, 0), atol=1e-12)
    tail = exact.alike(signed.slice(2), i[j < 5], j[j < 5])
    assert np.array_equal(tail, exact.alike(signed, i[j < 5] + 2, j[j < 5] + 2))
    found = exact.cluster(signed).to_pylist()
    assert all(r["similarity"] == round(jaccard(docs[0], docs[int(r["id"][-1])]), 6) for r in found)


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=2, max_size=6), st.sampled_from([0.01, 0.5, 0.7, 1.0])
)
def test_the_jaccard_of_sets_is_exact(sets, least):
    kept = [sorted(set(s)) for s in sets]
    column = minhash.packed(
        np.array([v for s in kept for v in s], np.uint32), np.array([len(s) for s in kept]), np.ones(len(kept), bool)
    )
    values, first = minhash.unpacked(column)
    i, j = np.triu_indices(len(kept), 1)
    want = [len({*kept[x]} & {*kept[y]}) / max(1, len({*kept[x]} | {*kept[y]})) for x, y in zip(i, j, strict=True)]
    assert minhash.jaccard(values, first, i, j, least).tolist() == [w if w >= least else 0.0 for w in want]


def test_no_verification_takes_every_chain_of_candidates_whole():
    loose = load("dedup_minhash", {"verify": "none", "bands": 112, "rows": 1})
    b = answers(*chain(12, 30))
    found = clusters(b, loose)
    assert {c for c, _ in found.values()} == {"s/00000"}
    assert len(found) == 12
    assert min(s for _, s in found.values()) < 0.5
    signed = pa.table({"id": b.column("id"), "signature": loose.score(b).column("signature")})
    assert (loose.alike(signed, np.arange(12), np.arange(12)[::-1]) > 0).all()


def test_characters_are_those_of_the_words_with_one_space_between():
    said = {"unit": "characters", "shingle": 4, "min_words": 1, "verify": "jaccard", "bands": 2, "rows": 2}
    filt = load("dedup_minhash", said)

    def shingles(text, **more):
        return filt.score(batch(sample(text, question="", **more)))["shingles"][0].as_py()

    assert shingles("The  CAT, sat!") == shingles("the cat\nsat") == shingles("…the cat — sat")
    assert len(shingles("the cat sat")) == 4 * 9  # twelve characters with the space at the end
    assert len(shingles("ab")) == 4  # three characters: one shingle
    assert len(set(np.frombuffer(shingles("abababab"), "<u4"))) == 3  # abab, baba, bab_
    assert shingles("café au lait") == shingles("cafe\u0301 au lait") != shingles("cafe au lait")
    words = filt.score(batch({**sample("x"), "messages": [{"role": "user", "content": c} for c in ("the cat", "sat")]}))
    assert words["shingles"][0].as_py() == shingles("the cat sat")


@pytest.mark.parametrize("preset", dedup_minhash.PRESETS)
def test_presets_find_copies_that_were_edited_in_one_word(preset):
    docs = documents(60)
    copies = [[*d[:100], "changed", *d[101:]] for d in docs[:30]]
    found = clusters(
        answers(*(" ".join(d) for d in docs + copies)), load("dedup_minhash", dedup_minhash.PRESETS[preset])
    )
    assert len(found) == 60


def test_the_curve_is_the_probability_of_a_shared_band():
    curve = dict(minhash.curve(14, 8))
    assert curve[0] == 0
    assert curve[1] == 1
    assert round(curve[0.75], 2) == 0.77
    assert round(curve[0.8], 3) == 0.924  # datatrove's own comment beside its defaults
    middle = minhash.midpoint(14, 8)
    assert abs(1 - (1 - middle**8) ** 14 - 0.5) < 1e-12


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"bands": 0}, "`bands` must be 1 or more"),
        ({"rows": -1}, "`rows` must be 1 or more"),
        ({"bands": 100, "rows": 100}, "`bands \\* rows` must be 1 to 4096, got `10000`"),
        ({"shingle": 0}, "`shingle` must be 1 to 1000"),
        ({"similarity": 0.0}, "`similarity` must be above 0 and at most 1, got `0.0`"),
        ({"similarity": 70.0}, "`similarity` must be above 0 and at most 1"),
        ({"unit": "word"}, "`unit` must be one of `words`, `characters`, got `word`.*words"),
        ({"verify": "exact"}, "`verify` must be one of `estimate`, `jaccard`, `none`, got `exact`"),
    ],
)
def test_parameters_out_of_range_are_named(params, said):
    with pytest.raises(UserError, match=said):
        load("dedup_minhash", params).score(answers(PROSE))


def test_all_halves_have_the_same_defaults():
    own = f.params
    for half in (dedup_minhash.keys, dedup_minhash.alike):
        for name, p in inspect.signature(half).parameters.items():
            if p.kind is p.KEYWORD_ONLY:
                assert own[name] == p.default


def planted(n=500, words=120, seed=11):
    """Texts, and as many copies with words changed here and there; (text, copy, true Jaccard similarity) of each pair."""
    rng = random.Random(seed)
    docs = documents(n, words, seed=seed)
    copies = []
    for d in docs:
        copy = list(d)
        for _ in range(rng.randrange(6)):
            copy[rng.randrange(words)] = f"other{rng.randrange(1000)}"
        copies.append(copy)
    return docs + copies, [(i, n + i, jaccard(d, c)) for i, (d, c) in enumerate(zip(docs, copies, strict=True))]


@pytest.mark.parametrize(("params", "recall"), [({}, 0.97), ({"bands": 16, "rows": 7, "verify": "jaccard"}, 0.985)])
def test_planted_copies_of_similarity_80_percent_are_found_and_nothing_else(params, recall):
    texts, pairs = planted()
    found = clusters(answers(*(" ".join(t) for t in texts), question=""), load("dedup_minhash", params))
    together = {(i, j) for i, j, _ in pairs if f"s/{j:05d}" in found and found[f"s/{j:05d}"][0] == f"s/{i:05d}"}
    near = {(i, j) for i, j, share in pairs if share >= 0.8}
    assert len(near) > 250
    assert len(together & near) >= recall * len(near)
    assert len(found) == 2 * len(together)  # nobody with a stranger
    alike = {(i, j): share for i, j, share in pairs}
    least = 0.7 if params else 0.55
    assert all(alike[pair] >= least for pair in together)
