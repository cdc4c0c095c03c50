# ruff: noqa: E501
"""Samples for the tests of text filters."""

import pyarrow as pa

from catalog.digests import sample_digest
from catalog.schema import SAMPLE

MEDIUM = {
    "kind": "image", "digest": "ab" * 32, "mime": "image/png", "width": 8, "height": 8,
    "frames": None, "duration": None, "shard": "media/00000.tar", "offset": 512, "size": 9,
}  # fmt: skip


def sample(answer=None, question="Tell me.", *, id="s/0", task="text", image=False, boxes=(), source="s"):  # noqa: A002
    messages = [{"role": "user", "content": ("<image>\n" if image else "") + question}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    media = [MEDIUM] if image else []
    boxes = [{"media": 0, "quad": [0, 0, 1, 0, 1, 1, 0, 1], "confidence": None, **b} for b in boxes]
    return {
        "id": id, "digest": sample_digest(messages, media, boxes), "source": source, "task": task, "license": "MIT",
        "messages": messages, "media": media, "boxes": boxes, "meta": "{}",
    }  # fmt: skip


def batch(*samples):
    return pa.RecordBatch.from_pylist(list(samples), schema=SAMPLE)


def answers(*texts, **kw):
    return batch(*(sample(t, id=f"s/{i:05d}", **kw) for i, t in enumerate(texts)))


PROSE = (
    "The river that runs past the old mill was once the busiest road of the county, and people who live with it still "
    "talk of the boats. In spring they have to be careful, for the water rises quickly and the meadow turns into a lake. "
    "Children learn early which of the paths stay dry, where herons nest, and how to read the colour of the clouds."
)

HOSTILE = (
    "", " ", "\x00", "\x00\x00a\x00", "\n\n\n", "\u202eevil\u202c text", "👩‍👩‍👧‍👦 👍🏽", "שלום עולם", "مرحبا بالعالم", "你好,世界", "สวัสดีชาวโลก",
    "a\u0301" * 50, "\ufeffbom", "\u200b\u200d", "x" * 100_000, "word " * 20_000, "$" * 101, "{" * 500, "}" * 3, "\\", "\\begin{", "\\begin{a}\\end{b}",
    "<<", "<<=>>", "<<1/0=1>>", "=" * 99, "1=" * 99, "((((" * 40 + "1 = 1", "-" * 200 + "1 + 1 = 2", "9" * 400 + " + 1 = 2", "<image>", "�",
    "\U0010ffff\U000e0001", "İıßſŉ", "ﷺ" * 30, "1 + 1 = 2" * 1000, "line\r\nline\r\n\r\nline", "#" * 60, "... … ...", "İ" * 200,
)  # fmt: skip
