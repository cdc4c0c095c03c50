# ruff: noqa: E501
import pytest

from filters.base import load
from tests.filters.dialogues import dialogue, dialogues, picture, pooled
from tests.filters.text_samples import batch

f = load("constant_answers")
ANSWER = "The quick brown fox jumps over the lazy dog and then it sleeps until the evening comes."


def rows(*pairs, **kw):
    return dialogues(*((f"u:{q}", f"a:{a}") for q, a in pairs), **kw)


def counts(part):
    return [(r["same_answer"], r["near_answer"]) for _, r in sorted(pooled(f, part).items())]


def test_different_prompts_of_one_answer_are_counted():
    part = rows(
        ("One?", ANSWER),
        ("Two?", ANSWER.upper()),
        ("Two ?", ANSWER + "!"),
        ("Three?", ANSWER.replace("dog", "cat")),
        ("One?", ANSWER),
    )
    # "Two?" and "Two ?" are one prompt, as are the two of "One?"; the cat's answer shares no sketch or the dog's one: it is itself alone.
    found = counts(part)
    assert [same for same, _ in found] == [2, 2, 2, 1, 2]
    assert all(near >= same for same, near in found)


def test_short_answers_are_right_under_many_questions():
    part = rows(*((f"Question {i}?", a) for i in range(30) for a in ("Yes", "A", "3", "It is not known.")))
    assert pooled(f, part) == {}


def test_a_constant_model_is_over_the_bound_and_others_are_not():
    part = rows(
        *((f"Question {i}?", ANSWER) for i in range(50)), *((f"Question {i}?", f"{i} " * 12) for i in range(50))
    )
    found = counts(part)
    assert found[:50] == [(50, 50)] * 50
    assert all(same == 1 for same, _ in found[50:])
    assert f.bounds == {"same_answer": (None, 10), "near_answer": (None, 30)}


def test_a_nearly_constant_model_is_found_by_the_sketch():
    text = " ".join(f"word{i}" for i in range(200))
    part = rows(*((f"Question {i}?", f"{text} end{i}") for i in range(60)))
    found = counts(part)
    assert all(same == 1 for same, _ in found)
    assert min(near for _, near in found) >= 40


@pytest.mark.parametrize("task", ["caption", "ocr", "document", "chart", "vqa"])
def test_tasks_whose_questions_repeat_are_left_alone(task):
    assert pooled(f, rows(("Describe it.", ANSWER), ("And it?", ANSWER), task=task)) == {}


def test_a_question_about_another_picture_is_another_question():
    part = batch(
        *(
            {**dialogue("u:<image>What is it?", f"a:{ANSWER}", id=str(i)), "media": [picture(d)]}
            for i, d in enumerate(("ab", "cd", "ab"))
        )
    )
    assert counts(part) == [(2, 2)] * 3


def test_parameters_reach_both_halves():
    g = load("constant_answers", {"min_words": 1, "bands": 2})
    found = pooled(g, rows(("One?", "Yes"), ("Two?", "yes."), ("Three?", "no")))
    assert [found[k]["same_answer"] for k in sorted(found)] == [2, 2, 1]
    assert g.score(rows(("One?", "Yes")))["sketch"][0].as_py().__len__() == 16
