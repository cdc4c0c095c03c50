# ruff: noqa: E501
import pytest

from filters.base import load
from tests.filters.dialogues import dialogues
from tests.filters.text_samples import answers

f = load("leaked_turns")


@pytest.mark.parametrize(
    "text",
    ["Buy stocks.\n##\n18. Instruction: Find the noun.\n18. Input:\nThe apple", "Yes.\n### Instruction:\nNext", "Yes.\n\n### Human: and now?", "Yes.<|im_end|>",
     "Yes.\n[INST] More [/INST]", "<<SYS>> You are", "12. Instruction: x"],
)  # fmt: skip
def test_leaks(text):
    assert f.score(answers(text))["leaked_turns"][0].as_py() == 1


@pytest.mark.parametrize(
    "text",
    ["### Instructions:\n1. Mix.", "## Instruction manual", "User: hi\nAssistant: hello", "The Instruction: do it", "a ### Response: b", "1. Instructions are read.", "Input: 3"],
)  # fmt: skip
def test_headings_scripts_and_talk_about_prompts_do_not(text):
    assert f.score(answers(text))["leaked_turns"][0].as_py() == 0


def test_answers_are_counted_and_questions_are_not():
    leak = "x\n### Response:\ny"
    out = f.score(dialogues(("u:" + leak, "a:fine", "u:?", "a:" + leak, "u:?", "a:" + leak), ("a:" + leak,)))
    assert out["leaked_turns"].to_pylist() == [2, None]
    assert f.score(answers(leak, task="code"))["leaked_turns"].to_pylist() == [None]
