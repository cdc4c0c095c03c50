import random

import numpy as np
import pyarrow as pa

from filters import dedup_minhash
from filters.base import load
from tests.filters.text_samples import PROSE, answers, batch, sample

f = load("dedup_minhash")


def clusters(b, filt=f):
    signed = pa.table({"id": b.column("id"), "signature": filt.score(b).column("signature")})
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
