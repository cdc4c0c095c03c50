"""Whether a dialogue takes turns: user, assistant, user, assistant, with a system message before or not at all.

Applies to samples with two messages or more, or one in which a user says something in words; null for plain documents and
bare media. A message is empty when it has neither a visible character nor a media mark.

- `turns` (count): assistant messages. No bound.
- `out_of_turn` (count): messages that have the role of the message before, system messages that are not first, and a
  dialogue's first message when it is the assistant's. Bound: at most 0.
- `empty_turns` (count): empty messages of any role. Bound: at most 0.
- `unanswered` (0 or 1): the last message is not the assistant's. Bound: at most 0.

Source of the bounds: FastChat keeps a conversation only if its speakers alternate and the user begins
(https://github.com/lm-sys/FastChat, fastchat/data/split_long_conversation.py, the cleaning of Vicuna's ShareGPT data), and
cuts a last question that has no answer, which a filter cannot do: here it is dropped. Empty outputs: AlpacaDataCleaned,
https://github.com/gururise/AlpacaDataCleaned (issue 3 of its list). Left out: cutting long conversations; FastChat has no
system turn.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.dialogue import ASSISTANT, SYSTEM, USER, roles, total, visible
from filters.shared.text import MARKS, column, lengths, starts, table


@scorer(
    version=1,
    scores={"turns": pa.int64(), "out_of_turn": pa.int64(), "empty_turns": pa.int64(), "unanswered": pa.int64()},
    bounds={"out_of_turn": (None, 0), "empty_turns": (None, 0), "unanswered": (None, 0)},
)
def turns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score the dialogues of `batch`."""
    role, said = roles(batch), visible(batch) > 0
    count = lengths(batch.column("messages"))
    first = starts(count)
    begin, last = first[:-1][count > 0], first[1:][count > 0] - 1
    content = pc.fill_null(batch.column("messages").flatten().field("content"), "")
    empty = ~said & ~np.asarray(pc.match_substring_regex(content, MARKS))

    opens = np.zeros(len(role), bool)
    opens[begin] = True
    before = np.concatenate([[SYSTEM], role[:-1]]).astype(
        role.dtype
    )  # of an opening message: whatever lets it be the user's
    before[opens] = SYSTEM
    wrong = np.where(role == SYSTEM, ~opens, (role == before) | ((role == ASSISTANT) & (before == SYSTEM)))

    unanswered = np.zeros(len(count), np.int64)
    unanswered[count > 0] = role[last] != ASSISTANT
    applies = (count > 1) | (total(batch, ((role == USER) & said).astype(np.int64)) > 0)
    return table(
        turns=column(total(batch, (role == ASSISTANT).astype(np.int64)), applies, pa.int64()),
        out_of_turn=column(total(batch, wrong.astype(np.int64)), applies, pa.int64()),
        empty_turns=column(total(batch, empty.astype(np.int64)), applies, pa.int64()),
        unanswered=column(unanswered, applies, pa.int64()),
    )
