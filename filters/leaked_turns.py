r"""Another turn inside an answer: the model that wrote it went on and asked itself the next question.

- `leaked_turns` (count): assistant messages with marks of a prompt's template at the beginning of a line: `##` and then
  `10. Instruction:`, `### Response:`, `### Human:`, `<|im_start|>`, `[INST]`, `<<SYS>>`, `<|endoftext|>`. Bound: at most 0.
  Null where no user says anything in words, and for task `code`.

Source: "merged instructions", issue 2 of AlpacaDataCleaned's list, https://github.com/gururise/AlpacaDataCleaned; the marks
are those of Self-Instruct's and Alpaca's prompts (arXiv 2212.10560, appendix;
https://github.com/tatsu-lab/stanford_alpaca), of ChatML and of Llama 2. The bound is by definition. Left out: marks in the
middle of a line, which texts about prompts have; `User:` and `Assistant:` without hashes, which scripts of dialogues have;
"### Instructions", a heading of recipes (25 of 805 answers of one good model).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.dialogue import ASSISTANT, instructed, roles, total
from filters.shared.text import column, is_task, messages, table

MARKS = (
    r"(?:^|\n)\s*(?:#{2,4}\s*\n?\s*)?\d{1,3}\.\s*Instruction:",
    r"(?:^|\n)\s*### ?(?:Instruction|Response|Human|User|Assistant|Input):",
    r"<\|(?:im_start|im_end|endoftext|eot_id|user|assistant|system|end)\|>|(?:^|\n)\s*\[/?INST\]|<</?SYS>>|(?:^|\n)\s*</s>",
)


@scorer(version=1, scores={"leaked_turns": pa.int64()}, bounds={"leaked_turns": (None, 0)})
def leaked_turns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Count the answers of `batch` that go on with another turn."""
    found = pc.match_substring_regex(messages(batch)[0], "|".join(f"(?:{m})" for m in MARKS))
    values = np.asarray(found) & (roles(batch) == ASSISTANT)
    applies = instructed(batch) & ~is_task(batch, "code")
    return table(leaked_turns=column(total(batch, values.astype(np.int64)), applies, pa.int64()))
