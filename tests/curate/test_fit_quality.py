import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from catalog.store import Store
from curate.engines.choose import choose
from curate.fit_quality import _groups, _platt, _shares, auc, config, fit, fit_refs, says, side
from curate.ingest import SourceSpec, ingest
from filters.base import load
from tests.filters.text_samples import answers, batch, sample

GOOD = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
BAD = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
SHARED = (
    "the", "of", "and", "to", "in", "is", "it", "that", "was", "for", "on", "are", "as", "with", "they", "at", "be", "this",
    "from",
)  # fmt: skip


def texts(own, n, seed, low=10, high=40):
    """Texts of common words with a few of one's own among them; the last word keeps them apart."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        said = rng.choice(SHARED, rng.integers(low, high)).tolist()
        said[::4] = rng.choice(own, len(said[::4])).tolist()
        out.append(" ".join([*said, f"u{seed}x{i}"]))
    return out


def sides(n=150, **kw):
    return answers(*texts(GOOD, n, 1, **kw)), answers(*texts(BAD, n, 2))


def fitted(out, good, bad, **values):
    seen = []
    made = fit(iter([good.slice(0, 40), good.slice(40)]), iter([bad]), out, config=config({"bits": 14, **values}),
               progress=lambda *x: seen.append(x))  # fmt: skip
    assert seen[-1][0] == seen[-1][1] == len(seen)
    return made


def test_it_learns_what_tells_the_sides_apart_and_says_how_well(tmp_path):
    made = fitted(tmp_path / "m", *sides())
    assert made["auc"] > 0.95
    assert made["brier"] < 0.1
    record = json.loads((tmp_path / "m" / "quality.json").read_text())
    assert set(record["telling"]["good"]) <= set(GOOD) | set(SHARED)
    assert set(record["telling"]["bad"][:8]) == set(BAD)
    assert set(record["telling"]["good"][:8]) == set(GOOD)
    assert made["telling"] == record["telling"]
    assert made["says"].startswith("tells them apart almost always")
    assert "seconds" not in record["metrics"]


def test_a_pair_of_words_tells_what_its_words_do_not(tmp_path):
    def said(pair, seed):
        other = f"{pair.split()[1]} so {pair.split()[0]}"  # the same words in both sides, once together and once apart
        return answers(*(f"{t} {pair} {other}" for t in texts(SHARED, 150, seed)))

    made = fitted(tmp_path / "m", said("red green", 1), said("green red", 2))
    assert made["telling_pairs"]["good"][0] in ("red green", "so red", "green green")
    assert "red green" in made["telling_pairs"]["good"]
    assert "green red" in made["telling_pairs"]["bad"]
    alone = fitted(tmp_path / "words", said("red green", 1), said("green red", 2), order=1)
    assert alone["telling_pairs"] == {"good": [], "bad": []}


def test_what_the_figures_come_to_is_said(tmp_path):
    same = fitted(tmp_path / "m", answers(*texts(SHARED, 300, 1)), answers(*texts(SHARED, 300, 2)))
    assert same["says"].startswith("no better than chance")
    base = {"auc": 0.6, "held_out": 1000, "held_out_good": 500, "auc_of_length": 0.5}
    assert says(base).startswith("barely above chance. Of a good and a bad text")
    assert "ahead in 60 % of the cases (AUC 0.600 on 1,000 held-out texts; chance gives 0.5 give or take 0.04)" in says(
        base
    )
    assert says({**base, "held_out": 60, "held_out_good": 30}).startswith("no better than chance")
    assert says({**base, "auc": 0.2}).startswith("worse than chance")
    assert says({**base, "auc": 0.85}).startswith("tells them apart well")
    assert "Length alone gives 0.620" in says({**base, "auc_of_length": 0.62})
    assert "Length" not in says({**base, "auc_of_length": 0.55})
    assert says({**base, "auc": None, "held_out_good": 0}).startswith("not measured: 0 good and 1000 bad")


def test_the_same_samples_and_seed_give_the_same_bytes_however_they_are_cut(tmp_path):
    good, bad = sides()
    fitted(tmp_path / "a", good, bad)
    fit((good.slice(i, 7) for i in range(0, 150, 7)), iter([bad.slice(0, 99), bad.slice(99)]), tmp_path / "b",
        config=config({"bits": 14}))  # fmt: skip
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == ["quality.json", "weights.parquet"]
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)
    fitted(tmp_path / "c", good, bad, seed=1)
    assert (tmp_path / "a" / "weights.parquet").read_bytes() != (tmp_path / "c" / "weights.parquet").read_bytes()


def test_random_sides_cannot_be_told_apart(tmp_path):
    mixed = texts(GOOD, 600, 5)
    made = fitted(tmp_path / "m", answers(*mixed[::2]), answers(*mixed[1::2]))
    assert 0.3 < made["auc"] < 0.7


def test_matching_lengths_takes_length_away(tmp_path):
    # Long texts repeat a word that short ones do not have room for: length without a word of its own.
    def said(n, low, high, seed):
        return answers(*texts(SHARED, n, seed, low, high))

    long, short = said(400, 25, 90, 1), said(400, 8, 30, 2)
    plain = fitted(tmp_path / "plain", long, short, match_length=False)
    matched = fitted(tmp_path / "matched", long, short)
    assert plain["auc_of_length"] > 0.9
    assert abs(matched["auc"] - 0.5) <= abs(plain["auc"] - 0.5) + 0.05
    assert abs(matched["auc_at_equal_length"] - 0.5) < 0.25


def test_both_sides_weigh_alike_however_many_there_are(tmp_path):
    good, bad = answers(*texts(GOOD, 60, 1)), answers(*texts(BAD, 900, 2))
    fitted(tmp_path / "m", good, bad)
    scores = load("quality", {"model": str(tmp_path / "m")})
    new = answers(*texts(GOOD, 20, 8), *texts(BAD, 20, 9))
    p = np.asarray(scores.score(new).column("quality").to_pylist())
    assert (p[:20] > 0.5).mean() > 0.9
    assert (p[20:] < 0.5).mean() > 0.9


def test_a_text_on_both_sides_is_good_and_one_that_comes_twice_counts_once(tmp_path):
    good, bad = texts(GOOD, 50, 1), texts(BAD, 50, 2)
    made = fitted(tmp_path / "m", answers(*good, *good[:20]), answers(*bad, *good[:10], "", "..."))
    assert (made["good"], made["bad"], made["on_both_sides"]) == (50, 50, 10)
    assert made["read"] == [70, 62]


def test_answers_to_one_prompt_are_held_out_together():
    keys = np.arange(100, dtype=np.uint64)
    prompts = np.asarray([7, 7] + [0] * 30 + [9] * 68, np.uint64)
    groups = _groups(keys, prompts)
    assert groups[0] == groups[1] == 7
    assert (groups[2:] == keys[2:]).all()  # no prompt, or one that everybody shares


def test_pairs_that_differ_in_a_word_do_not_score_below_chance(tmp_path):
    # Each bad answer is its good one with one word changed: known by its neighbour, a held-out half would be told wrongly.
    good = [sample(f"{t} right", question=f"q{i} {t[-6:]}", id=f"s/g{i}") for i, t in enumerate(texts(SHARED, 200, 1))]
    bad = [sample(r["messages"][1]["content"].replace("right", "wrong"), question=r["messages"][0]["content"], id=f"s/b{i}")
           for i, r in enumerate(good)]  # fmt: skip
    assert fitted(tmp_path / "m", batch(*good), batch(*bad))["auc"] > 0.9


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 500)), min_size=2, max_size=60), st.booleans())
@settings(max_examples=80, deadline=None)
def test_shares_balance_the_sides(rows, match):
    label, size = np.asarray([a for a, _ in rows]), np.asarray([b for _, b in rows])
    share = _shares(label, size, match=match)
    assert (share >= 0).all()
    if label.any() and not label.all():
        assert share[label].sum() == pytest.approx(share[~label].sum())
        assert share.mean() == pytest.approx(1)


def test_platt_recovers_a_logistic_curve():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, 20_000)
    label = rng.random(20_000) < 1 / (1 + np.exp(-(1.5 * z - 0.5)))
    slope, offset = _platt(z, label, np.ones(len(z)))
    assert slope == pytest.approx(1.5, abs=0.1)
    assert offset == pytest.approx(-0.5, abs=0.1)
    assert _platt(z[:0], label[:0], z[:0]) == (1.0, 0.0)


def test_auc_by_hand():
    label = np.asarray([True, True, False, False])
    assert auc(np.asarray([3.0, 1.0, 1.0, 0.0]), label) == (1 + 1 + 1 + 0.5) / 4
    assert auc(np.zeros(4), np.ones(4, bool)) is None


def test_settings_that_do_not_fit():
    for values, said in (
        ({"bit": 3}, "did you mean `bits`"),
        ({"bits": 40}, "expected 8 to 24"),
        ({"bits": "20"}, "must be a whole number"),
        ({"match_length": 1}, "must be true or false"),
        ({"reads": "answers"}, "did you mean `answer`"),
        ({"rate": -1.0}, "must be above 0"),
        ({"epochs": 0}, "expected 1 to"),
    ):
        with pytest.raises(UserError, match=said) as e:
            config(values)
        assert e.value.usage


def test_too_few_texts(tmp_path):
    good, bad = sides()
    for a, b, said in ((good.slice(0, 9), bad, "the good side has 9"), (good, bad.slice(0, 0), "the bad side has 0"),
                       (good, good, "150 of the bad side's texts stand on the good side too")):  # fmt: skip
        with pytest.raises(UserError, match=said):
            fitted(tmp_path / "m", a, b)
    assert not list(tmp_path.iterdir())


def test_sides_from_files_and_sources(tmp_path):
    alpaca = [{"instruction": f"Do {i}.", "input": "", "output": t} for i, t in enumerate(texts(GOOD, 60, 1))]
    chats = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": t}]}
        for t in texts(BAD, 60, 2)
    ]
    for name, rows in (("good.jsonl", alpaca), ("bad.jsonl", chats), ("odd.jsonl", [{"x": 1}])):
        (tmp_path / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    store = Store(tmp_path / "store")
    engine = choose("local", workers=1, address=None)
    fields = {"instruction": "instruction", "input": "input", "output": "output"}
    spec = SourceSpec.of({"name": "fine", "format": "text", "path": "good.jsonl", "fields": fields})
    try:
        ingest(store, spec, engine=engine, data=tmp_path)
    finally:
        engine.close()
    one = fit_refs(store, [str(tmp_path / "good.jsonl")], [str(tmp_path / "bad.jsonl")], tmp_path / "a")
    two = fit_refs(store, ["fine"], [str(tmp_path / "bad.jsonl")], tmp_path / "b")
    assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in two.items() if k != "seconds"}
    assert (tmp_path / "a" / "quality.json").read_bytes() == (tmp_path / "b" / "quality.json").read_bytes()
    with pytest.raises(UserError, match="never overwritten"):
        fit_refs(store, ["fine"], ["fine"], tmp_path / "a")
    with pytest.raises(UserError, match="no source version and no file"):
        list(side(store, ["fines"]))
    with pytest.raises(UserError, match="neither conversations nor records"):
        list(side(store, [str(tmp_path / "odd.jsonl")]))
