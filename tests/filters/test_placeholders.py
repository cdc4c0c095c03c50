# ruff: noqa: E501
import pytest

from filters.base import load
from tests.filters.dialogues import dialogues

f = load("placeholders")


def score(prompt, response, task="text"):
    out = f.score(dialogues((f"u:{prompt}", f"a:{response}"), task=task))
    return tuple(c[0].as_py() for c in out.columns)


@pytest.mark.parametrize(
    "text",
    ["<noinput>", "Who is it?\n\n<no input>.", "Who?\n\nNo input", "Who?\n\nnoinput", "Who?\n\nNo input required.", "Who?\n\nN/A", "Name [insert name here]",
     "<insert text>", "(Insert article)", "sign Your Name Here", "<Picture Attached>", "[image here]", "Hello {{ name }}", "Hello ${user}", "Hello %(who)s", "Hello {first_name}",
     "Hi {name}", "call xxx", "call XXX-XXXX", "Lorem ipsum dolor", "blah blah blah", "<noinput", "<noinputs>", r"\<noinput\>", "`<noinput>`", "[TBD]"],
)  # fmt: skip
def test_prompts(text):
    assert score(text, "Fine.") == (1, 0, 0)


@pytest.mark.parametrize(
    "text", ["<nooutput>", "N/A", "No output", "TODO: write", "<noinput>", "search('{input}')", "[Insert output here]"]
)
def test_responses(text):
    assert score("Do it.", text) == (0, 1, 0)


@pytest.mark.parametrize(
    "text",
    ["There was no input from the board.", "Super Bowl XXX", "{1, 2, 3}", "f(x) = {x}", "[1, 2]", "the function returns none", "We todo nothing", "[Exit, pursued by a bear]",
     "(Enter your PIN at the machine)", "<div>", "<type>Text</type>", "None of them.", "The N/A column", "token: ${{ secrets.TOKEN }}", "said {{ . }} then", "insert a coin"],
)  # fmt: skip
def test_not_placeholders(text):
    assert score("x", text) == (0, 0, 0)
    assert score(text + " Why?", "x") == (0, 0, 0)


def test_none_ends_a_list_of_an_answer_but_not_a_prompt():
    assert score("Which?", "Dangerous:\n\nnone") == (0, 0, 0)
    assert score("Which?\n\nnone", "All.") == (1, 0, 0)


def test_blanks_are_counted_apart():
    assert score("Write a letter.", "Dear [Name],\nI apply at [Your Company].\n[Your Phone Number]\n____") == (0, 0, 4)


def test_code_has_braces():
    assert score("Format it", "Use `{first_name}` or\n```\nprint('{last_name}')\n```") == (0, 0, 0)
    assert score("Format it", "print('{last_name}')", task="code") == (None, None, None)


def test_every_one_counts_in_every_turn():
    out = f.score(
        dialogues(
            ("u:<noinput>", "a:<nooutput> <nooutput>", "u:{name}", "a:xxx"), ("a:lorem ipsum",), ("u:lorem ipsum",)
        )
    )
    assert out["prompt_placeholders"].to_pylist() == [2, None, 1]
    assert out["response_placeholders"].to_pylist() == [3, 1, None]
