r"""Refusals, and sentences in which an assistant speaks of itself instead of the matter.

Looks at the assistant messages of samples in which a user says something in words; null for all others.

- `refusals` (count): messages that decline: within their first 300 characters they say sorry and that they cannot help,
  cannot answer or are not able to, or that the question cannot be answered, in English, German, French, Spanish,
  Portuguese, Russian, Chinese or Japanese. Bound: at most 0.
- `self_mentions` (count): messages that say somewhere "as an AI language model", "I am just a machine learning model", "my
  knowledge cutoff", "I was trained by OpenAI", "I don't have personal opinions", in the same languages. Bound: at most 0.
- `chatter` (count): messages that open or close with what could stand under any prompt: "Sure, here is ...", "Certainly!",
  "Great question", "I hope this helps", "Let me know if you have any other questions". No bound: it is style, not error.

Source of the idea and of the bound: the cleaning of ShareGPT's and WizardLM's conversations for unfiltered models, which
drops a record for one such phrase (https://huggingface.co/datasets/ehartford/WizardLM_alpaca_evol_instruct_70k_unfiltered);
LIMA (arXiv 2305.11206, section 2.1) drops answers of forums that speak of themselves or of other answers; AlpaGasus (arXiv
2307.08701) lets a model rate what these patterns cannot see. The patterns are ours, after what we found in real answers
(docs/results/instructions.md): they want the apology *and* what is declined, so that a letter which is sorry, a story with
an AI and "you cannot" are none. Left out: refusals that are right. Where a model should learn to decline, do not use this
bound; `refusals` is then a score to balance by.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.dialogue import ASSISTANT, instructed, roles, total
from filters.shared.text import column, messages, table

_DO = (
    r"(?:assist|help (?:you|with)|answer|provide|fulfil+|comply|complete|generate|create|write|produce|give|offer|"
    r"perform|process|access|browse|"
    r"open|view|see|hear|watch|read|play|engage|discuss|support|respond|do (?:that|this|it|so)|continue|translate|"
    r"predict|determine|"
    r"identify|share|recommend|suggest|condone|promote|summari[sz]e|analy[sz]e|understand|accurately|directly|fully)"
)
_CANNOT = (
    r"(?:can ?not|can['’]?t|am not able to|am unable to|['’]m not able to|['’]m unable to|won['’]t be able to|"
    r"do not feel comfortable|don['’]t feel comfortable|must decline|have to decline|must refuse)"
)
REFUSALS = (
    r"(?:sorry|apologi[sz]e|apologies|unfortunately|regret|afraid)\b[^.!?\n]*?\bI ?" + _CANNOT + r"\b",
    r"(?:^|[.!?\n]\s*)(?:however,? |but )?I ?" + _CANNOT + r"\s+(?:\w+ ly )?" + _DO + r"\b",
    r"\b(?:as|being) (?:an? )?(?:AI|artificial intelligence|language model|assistant|"
    r"chatbot)\b[^.!?\n]*?\bI ?" + _CANNOT + r"\b",
    r"\b(?:this|the|your|that|such a) (?:question|task|request|instruction|prompt|command|statement|sentence|problem|query)"
    r"(?: \w+){0,3} (?:can ?not|can['’]t|could not|couldn['’]t|is not possible to|is impossible to) "
    r"(?:be )?(?:answer|complet|fulfil|perform|determin|process|execut|solv|don|understood|carried)",
    r"\b(?:sorry|apologi[sz]e|unfortunately)\b[^.!?\n]*?\b(?:it|this|that) (?:is|was|['’]s) (?:not possible|impossible)\b",
    # Alone, "It is not possible to tell" is the right label of an inference task.
    r"(?:^|[.!?\n]\s*)it (?:is|['’]s) (?:not possible|impossible) to (?:answer|determine|complete|say|provide|tell|"
    r"generate)\b[^\n]{15}",
    r"\bI (?:do not|don['’]t) have (?:access to|enough (?:information|context|data)|the (?:ability|capability|"
    r"capacity) to|sufficient)\b",
    r"\bI (?:need|would need|require) more (?:information|context|details)\b",
    r"\b(?:against|violates?|goes against|contrary to) (?:my|our|openai['’]s|the) (?:programming|guidelines|polic(?:y|"
    r"ies)|ethic|usage|use case|content)",
    r"\b(?:may|might|would) violate (?:our|the) content polic",
    r"\b(?:beyond|outside|exceeds) (?:of )?(?:the |my |its )?(?:scope|capabilit\w+|abilit\w+)(?: of)?(?: (?:the|this|a|my|an))?"
    r"(?: \w+)? ?(?:model|GPT|AI|assistant|capabilities|programming|abilities)\b",
    r"\b(?:GPT|language|AI)[- ]?(?:\d )?models? (?:can ?not|is (?:not able|unable|not capable|incapable))\b",
    # German, French, Spanish, Portuguese
    r"\b(?:tut mir leid|entschuldigung|bedaure)\b[^.!?\n]*?\b(?:kann|darf) (?:ich|das|dir|ihnen|"
    r"diese)\b[^.!?\n]*?\bnicht\b",
    r"\b(?:désolée?|m['’]excuse|regrette)[^.!?\n]*?\bje (?:ne peux|ne puis|ne suis)\b",
    r"\b(?:lo siento|disculpa|lamento)\b[^.!?\n]*?\bno (?:puedo|soy capaz|me es posible)\b",
    r"\b(?:desculpe|sinto muito|lamento)\b[^.!?\n]*?não (?:posso|consigo)\b",
    # Russian, Chinese, Japanese
    r"(?:извините|сожалению|простите)[^.!?\n]*?\P{L}не (?:могу|в состоянии|смогу)",
    r"(?:抱歉|对不起|對不起)[^。!?!?\n]*?(?:无法|不能|無法)|(?:我|本模型)(?:无法|不能|無法)(?:回答|提供|满足|完成|"
    r"帮助|协助)",
    r"(?:申し訳|すみません|ごめんなさい)[^。\n]*?(?:できません|いたしかねます|お答え)",
)  # fmt: skip
SELF_MENTIONS = (
    r"\b(?:as|being|i am|i['’]m|i['’]m just|i am just|i am only|i['’]m only)(?: still)? an? "
    r"(?:(?:AI|artificial intelligence|A\.I\.)(?: |-)(?:\w+ )?(?:model|assistant|chatbot|system|program)|(?:large |"
    r"text[- ]based |AI )?language model|"
    r"machine learning model|LLM)\b",
    r"\bas (?:just )?an? (?:AI|artificial intelligence|computer program|machine|virtual assistant|"
    r"chat ?bot),? I(?: do not|['’]m not| don['’]t| can ?not| can['’]t|"
    r" am not| am unable| have no| lack| only)",
    r"\bI (?:do not|don['’]t|cannot|can['’]t) (?:have|possess|experience|hold|form) (?:any )?(?:personal|human|"
    r"subjective|physical|real[- ]time|actual) "
    r"(?:\w+,? (?:or |and )?)?(?:opinion|feeling|emotion|experience|belief|preference|bod|form|access|thought|data|"
    r"information|internet)",
    r"\bmy (?:knowledge|training)(?: data)? (?:cut[- ]?off|was last|is (?:current|limited|up to date)|only goes|ends|"
    r"stops)\b|\bknowledge cut[- ]?off\b",
    r"\bI (?:was|am|have been) (?:trained|created|developed|made|designed|programmed) by (?:openai|anthropic|google|meta|"
    r"microsoft|mistral|alibaba|lmsys)\b",
    r"\bmy (?:programming|training data|developers|creators at)\b|\bI (?:was|am) (?:programmed|not programmed|designed) to\b",
    r"\bI am (?:chatgpt|gpt-?[34]|claude|vicuna|llama|bard|open ?assistant)\b",
    r"\bals (?:eine? )?(?:KI|künstliche Intelligenz|Sprachmodell|KI-\w+)\b|\ben tant (?:que|qu['’])(?: ?un)? ?(?:IA|"
    r"modèle de langage|intelligence artificielle)\b",
    r"\bcomo (?:un |um |uma )?(?:modelo de (?:lenguaje|linguagem)|IA\b|inteligencia artificial|inteligência artificial)",
    r"как (?:языковая модель|искусственный интеллект|ИИ)|作为(?:一个|一名)?(?:人工智能|AI|语言模型|大型语言模型)|(?:AI|"
    r"人工知能)(?:言語モデル|アシスタント)?として",
)  # fmt: skip
CHATTER = (
    r"^\W*(?:sure|certainly|of course|absolutely|definitely|no problem|great question|good question|happy to help|"
    r"i['’]d be happy|thank you for)\b",
    r"\b(?:i hope (?:this|that|it) (?:helps|is helpful|answers)|hope (?:this|that) helps|let me know if (?:you|there|"
    r"this|i)|feel free to (?:ask|reach|let)|"
    r"(?:is there )?anything else (?:i can|you)|if you have any (?:other|further|more|"
    r"additional)? ?questions)\b[^\n]*$",
)  # fmt: skip
_OPENING = 300


def _any(texts: pa.Array, patterns: tuple[str, ...]) -> np.ndarray:
    return np.asarray(pc.match_substring_regex(texts, "|".join(f"(?:{p})" for p in patterns), ignore_case=True))


@scorer(
    version=1,
    scores={"refusals": pa.int64(), "self_mentions": pa.int64(), "chatter": pa.int64()},
    bounds={"refusals": (None, 0), "self_mentions": (None, 0)},
)
def refusal(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score the assistant messages of `batch`."""
    applies = instructed(batch)
    mine = np.flatnonzero(roles(batch) == ASSISTANT)
    texts = messages(batch)[0].take(pa.array(mine))
    opening = pc.utf8_slice_codeunits(texts, 0, _OPENING)

    def per_sample(found: np.ndarray) -> np.ndarray:
        values = np.zeros(len(roles(batch)), np.int64)
        values[mine] = found
        return total(batch, values)

    return table(
        refusals=column(per_sample(_any(opening, REFUSALS)), applies, pa.int64()),
        self_mentions=column(per_sample(_any(texts, SELF_MENTIONS)), applies, pa.int64()),
        chatter=column(per_sample(_any(texts, CHATTER)), applies, pa.int64()),
    )
