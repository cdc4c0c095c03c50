"""Dialogues for the tests of instruction filters."""

import pyarrow as pa

from tests.filters.text_samples import MEDIUM, batch, sample

ROLE = {"u": "user", "a": "assistant", "s": "system", "?": "tool"}


def dialogue(*turns, **kw):
    """Return a sample of turns written as `u:text`."""
    messages = [{"role": ROLE[t[0]], "content": t[2:]} for t in turns]
    return {**sample(**kw), "messages": messages}


def dialogues(*rows, **kw):
    return batch(*(dialogue(*turns, id=f"s/{i:05d}", **kw) for i, turns in enumerate(rows)))


def picture(digest):
    return {**MEDIUM, "digest": digest * 32}


def pooled(f, part):
    """Return {id: pooled scores} of a batch."""
    heads = {c: part.column(c) for c in ("id", "source", "task")}
    scores = f.score(part)
    found = f.pool(pa.table({**heads, **dict(zip(f.scores, scores.columns, strict=True))}))
    return {row.pop("id"): row for row in found.to_pylist()}
