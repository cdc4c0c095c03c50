from filters.base import load
from tests.filters.parity_samples import broken
from tests.filters.text_samples import PROSE, answers

f = load("gopher_quality")
published = load("gopher_quality", {"min_words": 0, "exceptions": False})


def one(text, filt=f, **kw):
    return {k: v[0] for k, v in filt.score(answers(text, **kw)).to_pydict().items()}


def bad(scores):
    return set(broken(f.bounds, scores))


def test_prose_passes():
    scores = one(PROSE)
    assert bad(scores) == set()
    assert scores["words"] == len(PROSE.split())  # every sign is a symbol word
    assert scores["stop_words"] == 8
    signs = sum(PROSE.count(c) for c in ",.")
    assert scores["alpha_words"] == len(PROSE.split()) / (len(PROSE.split()) + signs)
    assert scores["bullet_lines"] is None


def test_short_texts_and_code_do_not_apply():
    assert set(one("Short answer.").values()) == {None}
    assert set(one(PROSE, task="code").values()) == {None}
    assert set(one(None).values()) == {None}


def test_each_rule():
    words = PROSE.split()
    assert bad(one(" ".join(w + " #" for w in words))) >= {"symbol_ratio"}
    assert bad(one("\n".join("- " + w for w in words))) >= {"bullet_lines"}
    assert bad(one("\n".join(" ".join(words[i : i + 9]) + "..." for i in range(0, 72, 9)))) >= {"ellipsis_lines"}
    assert bad(one(" ".join(words + ["12"] * 40))) >= {"alpha_words"}
    assert bad(one("supercalifragilistic " * 60)) >= {"mean_word_length", "stop_words"}
    assert bad(one("a b " * 60)) >= {"mean_word_length", "stop_words"}
    assert one("1 + 2 = 3, so far. " * 30, task="math")["alpha_words"] is None
    assert one(PROSE.replace("the", "The").replace("and", "AND"))["stop_words"] == 6  # in just this spelling


def test_counts_by_hand():
    scores = one("# One... two…\n - three ....... \n\n• Don't.\n", published)
    words = ["#", "One", "...", "two", "…", "-", "three", ".......", "•", "Do", "n't", "."]
    assert scores["words"] == 6  # One two three • Do n't: the bullet is none of the signs of the published list
    assert scores["mean_word_length"] == (3 + 3 + 5 + 1 + 2 + 3) / 6
    assert scores["symbol_ratio"] == 4 / len(words)  # ... … and two in the seven
    assert scores["bullet_lines"] == 2 / 4
    assert scores["ellipsis_lines"] == 2 / 4
    assert scores["alpha_words"] == 5 / len(words)


def test_stop_words_are_english_only():
    russian = "Съешь же ещё этих мягких французских булок да выпей чаю. " * 8
    assert one(russian)["stop_words"] is None
    assert one(russian, published)["stop_words"] == 0


def test_one_line_is_no_list():
    scores = one("- " + PROSE + "...")
    assert scores["bullet_lines"] is scores["ellipsis_lines"] is None
    assert bad(scores) == set()
    assert one("- " + PROSE + "...", published)["bullet_lines"] == 1.0
    assert one(f"- {PROSE}\n• {PROSE}\n")["bullet_lines"] == 1.0


def test_parameters():
    stars = load("gopher_quality", {"bullets": ["*"]})
    assert one(f"* {PROSE}\n- {PROSE}", stars)["bullet_lines"] == 0.5
    own = load("gopher_quality", {"stop_words": ["river", "boats", "boats", "nowhere"]})
    assert one(PROSE, own)["stop_words"] == 2
    spaced = load("gopher_quality", {"tokeniser": "space"})
    assert one(PROSE, spaced)["alpha_words"] == 1.0


def test_the_published_rule_judges_every_text():
    assert one("", published) == {**dict.fromkeys(f.scores), "words": 0}
    assert bad(one("", published)) == {"words"}
    assert bad(one("#", published)) >= {"words", "symbol_ratio"}
    assert bad(one(PROSE, published, task="code")) == set()
    assert set(one(None, published).values()) == {None}
