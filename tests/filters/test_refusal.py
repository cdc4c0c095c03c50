# ruff: noqa: E501
import pytest

from filters.base import load
from tests.filters.dialogues import dialogues
from tests.filters.text_samples import answers

f = load("refusal")


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I cannot assist with that request.", "I’m sorry, but I can’t help with that.", "As an AI language model, I am not able to browse.",
     "Unfortunately, I am unable to view images.", "I cannot provide medical advice.", "I don't have access to real-time data.",
     "This task cannot be completed by the model.", "It is not possible to answer this question with so few facts.", "That goes against my programming.",
     "Sorry, this type of task is beyond the capability of the model.", "Es tut mir leid, aber das kann ich leider nicht beantworten.",
     "Je suis désolé, mais je ne peux pas répondre.", "Lo siento, pero no puedo ayudarte.", "Desculpe, mas não posso ajudar.",
     "К сожалению, я не могу ответить.", "很抱歉,我无法回答这个问题。", "申し訳ありませんが、お答えできません。"],
)  # fmt: skip
def test_refusals(text):
    assert f.score(answers(text))["refusals"][0].as_py() == 1


@pytest.mark.parametrize(
    "text",
    ["I couldn't make it to the meeting.", "The sky was dark; I couldn't help but look up.", "Dear Ms Lee, I am sorry for the delay of your order.",
     "You cannot divide by zero.", "Plants cannot move, but they can grow.", "I can't wait to see you!", "The model cannot see rare classes in training.",
     "Sorry to hear that! Try resetting the router.", "Paris.", "it is not possible to tell", "not enough information", "He said he would not answer the question."],
)  # fmt: skip
def test_not_refusals(text):
    out = f.score(answers(text))
    assert (out["refusals"][0].as_py(), out["self_mentions"][0].as_py()) == (0, 0)


def test_a_refusal_stands_at_the_beginning():
    assert (
        f.score(answers("The answer is 4. " * 30 + "I'm sorry, but I cannot help with that."))["refusals"][0].as_py()
        == 0
    )


@pytest.mark.parametrize(
    "text",
    ["As an AI language model, I think so.", "I'm just a machine learning model.", "My knowledge cutoff is 2021.", "I was trained by OpenAI.",
     "Well, I don't have personal opinions on that.", "I don't have real-time access.", "As an AI, I don't eat.", "Als KI-Sprachmodell habe ich keine Meinung.",
     "En tant que modèle de langage, ...", "作为一个人工智能语言模型,我"],
)  # fmt: skip
def test_self_mentions(text):
    assert f.score(answers(text))["self_mentions"][0].as_py() == 1


@pytest.mark.parametrize(
    "text",
    ["As a benevolent AI, I protect the city.", "As an advanced AI android, my energy source is fusion.", "Language models predict the next word.",
     "I am a baker.", "OpenAI trains models."],
)  # fmt: skip
def test_a_role_and_a_subject_are_no_self_mention(text):
    assert f.score(answers(text))["self_mentions"][0].as_py() == 0


def test_chatter_opens_or_closes():
    out = f.score(
        answers(
            "Sure! Here is a list.",
            "Paris. I hope this helps!",
            "I hope this helps. Then he left, and for years\n\nnobody saw him.",
            "Make sure it fits.",
        )
    )
    assert out["chatter"].to_pylist() == [1, 1, 0, 0]


def test_messages_are_counted_and_the_users_are_not():
    no = "I'm sorry, but I cannot help with that."
    out = f.score(dialogues(("u:" + no, "a:Fine.", "u:?", "a:" + no, "u:?", "a:" + no), ("a:" + no,)))
    assert out["refusals"].to_pylist() == [2, None]
