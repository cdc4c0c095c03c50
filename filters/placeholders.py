r"""Placeholders that whoever made the data forgot to fill in.

Looks at user and assistant messages apart. Applies to samples with a user message in words or an assistant message; null
elsewhere and for task `code`. What stands between code fences or back-ticks is not looked at, because braces are code
there; but for the first kind.

- `prompt_placeholders` (count): in the user's messages. Bound: at most 0.
- `response_placeholders` (count): in the assistant's. Bound: at most 0. Counted is each
  - "no input" mark: `<noinput>`, `<no input>`, `<nooutput>`, `[no input]`, or `noinput`, `No input`, `N/A`, `none` alone on
    the last line;
  - insert mark: `[insert name here]`, `<insert text>`, `(insert ...)`, `Your Name Here`, `[picture attached]`, `<image
    here>`;
  - template's field: `{{ title }}`, `${name}`, `%(name)s`, and `{first_name}` with a name of two parts or a usual one;
  - filler: `xxx`, `XXX-XXXX`, `lorem ipsum`, `blah blah blah`, `[TBD]`; in answers also `TODO:`, which is a question's own
    in code to complete.
- `blanks` (count): fields that a reader shall fill in, in the assistant's messages: `[Name]`, `[Your Company]`, `[Date]`,
  `____`. No bound: a letter's template is a good answer to "write a letter".

Source: the defects that AlpacaDataCleaned lists for Alpaca (empty input written as `<no input>`, `No input`, `noinput` or
`<noinput>`, `<No Output>`, `N/A` answers, `<Picture Attached>`), https://github.com/gururise/AlpacaDataCleaned (issues 5 to
9); C4 drops pages with "lorem ipsum" (arXiv 1910.10683, section 2.2). The bound is by definition; the patterns are ours.
Left out: the other items of that list.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.dialogue import ASSISTANT, USER, roles, total, visible
from filters.shared.text import column, is_task, messages, table

_USUAL = (
    r"(?:user|first|last|full)?_?name|title|date|time|company|product|city|country|state|email|phone|address|topic|"
    r"subject|question|answer|"
    r"context|input|output|instruction|prompt|query|text|username|customer|order_id|price|url|link|content|placeholder"
)
NO_INPUT = (
    r"[<\[({]\s*(?:no|empty|blank)[ _-]?(?:input|output|answer|response|content)s?\b"  # whether it is closed or not
)
PLACEHOLDERS = (
    r"[<\[{]\s*(?:please )?(?:insert\b|(?:enter|add|put|fill(?: in)?|replace|type|write|paste) )[^<>\[\](){}\n]*[>\]}]|"
    r"\(insert [^()\n]*\)",
    r"\byour (?:full |first |last |company |business |product )?(?:name|text|title|logo|address|ad|link) (?:goes )?here\b",
    r"[<\[({]\s*(?:image|picture|photo|video|audio|file|screenshot|document|article|link|figure|diagram|graph|chart|table)s?"
    r"(?: (?:here|attached|attachment|omitted|goes here|not (?:shown|included|available)|placeholder|removed))\s*[>\])}]",
    r"(?:^|[^$])\{\{\s*[A-Za-z][\w. |-]{0,60}\}\}|\$\{\s*[\w.]{1,40}\s*\}|%\(\w{1,40}\)s|\{(?:" + _USUAL + r"|"
    r"[a-z]{2,20}_[a-z_]{2,30})\}",
    r"\b(?:(?-i:xxx+)|x{5,}|x{2,}(?:[-–. ]x{2,})+)\b|\blorem ipsum\b|\bblah(?:,? blah){2,}|"
    r"[<\[({]\s*(?:TBD|TODO|TBA|placeholder)\s*[>\])}]",
)  # fmt: skip
NOTHING = r"no[ _-]?(?:input|output)(?: (?:needed|required|given|provided|necessary))?"
IN_PROMPTS = (*PLACEHOLDERS, r"(?:^|\n)[ \t]*(?:" + NOTHING + r"|n/a|none)[ \t]*\.?\s*$")
IN_RESPONSES = (*PLACEHOLDERS, r"\b(?-i:TODO|FIXME):", r"^\s*(?:" + NOTHING + r"|n/a)\s*\.?\s*$")
BLANKS = (
    r"\[(?:(?:your|my|the|our|his|her|recipient['’]?s?|sender['’]?s?|client['’]?s?|customer['’]?s?|company|"
    r"employer['’]?s?|hiring|manager['’]?s?|first|last|"
    r"full|phone|email|e-mail|street|zip|school|product|job|contact|current|start|end|event|organi[sz]ation)[ ']?){0,3} ?"
    r"(?:name|date|address|company|number|email|title|city|state|position|location|code|amount|time|year|phone|website|"
    r"url|link|signature|"
    r"department|university|skills?|reason|field|institution|business|team|organi[sz]ation)(?: here)?\]|_{4,}"
)  # fmt: skip
_CODE = r"(?s:```.*?(?:```|\z))|`[^`\n]{1,200}`"


def _count(texts: pa.Array, patterns: tuple[str, ...]) -> np.ndarray:
    found = pc.count_substring_regex(texts, "|".join(f"(?:{p})" for p in patterns), ignore_case=True)
    return np.asarray(found).astype(np.int64)


@scorer(
    version=1,
    scores={"prompt_placeholders": pa.int64(), "response_placeholders": pa.int64(), "blanks": pa.int64()},
    bounds={"prompt_placeholders": (None, 0), "response_placeholders": (None, 0)},
)
def placeholders(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Count the placeholders of `batch`."""
    role = roles(batch)
    texts = pc.replace_substring_regex(messages(batch)[0], _CODE, " ")
    asks, answers = role == USER, role == ASSISTANT
    found = np.where(asks, _count(texts, IN_PROMPTS), _count(texts, IN_RESPONSES)) + _count(
        messages(batch)[0], (NO_INPUT,)
    )
    blanks = _count(texts, (BLANKS,))
    asked = total(batch, (asks & (visible(batch) > 0)).astype(np.int64)) > 0
    answered = total(batch, answers.astype(np.int64)) > 0
    looked = ~is_task(batch, "code")
    return table(
        prompt_placeholders=column(total(batch, found * asks), asked & looked, pa.int64()),
        response_placeholders=column(total(batch, found * answers), answered & looked, pa.int64()),
        blanks=column(total(batch, blanks * answers), answered & looked, pa.int64()),
    )
