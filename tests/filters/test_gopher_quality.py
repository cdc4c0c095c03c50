from filters.base import load
from tests.filters.text_samples import PROSE, answers

f = load("gopher_quality")


def one(text, **kw):
    return {k: v[0] for k, v in f.score(answers(text, **kw)).to_pydict().items()}


def bad(scores):
    return {
        k for k, (lo, hi) in f.bounds.items()
        if scores[k] is not None and ((lo is not None and scores[k] < lo) or (hi is not None and scores[k] > hi))
    }  # fmt: skip


def test_prose_passes():
    scores = one(PROSE)
    assert bad(scores) == set()
    assert scores["words"] == len(PROSE.split())
    assert scores["stop_words"] == 8
    assert scores["alpha_words"] == 1.0


def test_short_texts_and_code_do_not_apply():
    assert set(one("Short answer.").values()) == {None}
    assert set(one(PROSE, task="code").values()) == {None}


def test_each_rule():
    words = PROSE.split()
    assert bad(one(" ".join(w + " #" for w in words))) >= {"symbol_ratio"}
    assert bad(one("\n".join("- " + w for w in words))) >= {"bullet_lines"}
    assert bad(one("\n".join(" ".join(words[i : i + 9]) + "..." for i in range(0, 72, 9)))) >= {"ellipsis_lines"}
    assert bad(one(" ".join(words + ["12"] * 40))) >= {"alpha_words"}
    assert bad(one("supercalifragilistic " * 60)) >= {"mean_word_length", "stop_words"}
    assert bad(one("a b " * 60)) >= {"mean_word_length", "stop_words"}
    assert one("1 + 2 = 3, so far. " * 30, task="math")["alpha_words"] is None


def test_stop_words_are_english_only():
    assert one("Съешь же ещё этих мягких французских булок да выпей чаю. " * 8)["stop_words"] is None


def test_one_line_is_no_list():
    scores = one("* " + PROSE + "...")
    assert scores["bullet_lines"] is scores["ellipsis_lines"] is None
    assert bad(scores) == set()
    assert one(f"* {PROSE}\n* {PROSE}\n\n")["bullet_lines"] == 1.0
    assert one(f"\n  * {PROSE}\n \n")["bullet_lines"] is None
