"""What datatrove decides about texts: run by `text_parity.py` with datatrove's own Python, never imported by Cuvee.

    python _datatrove.py decide TEXTS.parquet OUT.parquet    # words, and every filter's decision and reason
    python _datatrove.py words TEXTS.parquet OUT.parquet     # words only

A word is given by the bytes [start, end) of the text that it covers; an empty reason means that the text is kept.
"""

import sys
from multiprocessing import Pool

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STEP = 500  # texts per task


def byte_offsets(text, characters):
    """Return byte offsets of character offsets."""
    if text.isascii():
        return characters
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    sizes = 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)
    return np.concatenate([[0], np.cumsum(sizes)])[characters]


def spans(text):
    """Return the starts and ends, in bytes, of datatrove's words of `text`."""
    from datatrove.utils.text import split_into_words

    starts, ends, at = [], [], 0
    for word in split_into_words(text):
        at = text.index(word, at)
        starts.append(at)
        at += len(word)
        ends.append(at)
    return byte_offsets(text, np.array(starts, np.int64)), byte_offsets(text, np.array(ends, np.int64))


def ask(one, text):
    """Return the reason for which a filter drops `text` ("" if it does not), and the text that it leaves."""
    from datatrove.data import Document

    document = Document(text=text, id="0")
    try:
        result = one.filter(document)
    except Exception as e:  # a filter that fails on a text has decided nothing: said so in the report
        return f"error: {type(e).__name__}", text
    if isinstance(result, tuple):
        kept, reason = result
        return ("" if kept else reason), document.text
    return ("" if result else "dropped"), document.text


def filters():
    """Return datatrove's filters with their published defaults, by Cuvee's name."""
    from datatrove.pipeline.filters import (
        C4ParagraphFilter,
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    return {
        "c4": C4QualityFilter(),
        "c4_paragraphs": C4ParagraphFilter(),
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "fineweb": FineWebQualityFilter(),
        "c4_of_fineweb": C4QualityFilter(filter_no_terminal_punct=False),
    }


def decide(texts):
    """Return the rows of some texts: words and the reasons of all filters."""
    found = filters()
    rows = []
    for text in texts:
        row = dict(zip(("starts", "ends"), spans(text), strict=True))
        for name, one in found.items():
            row[name], left = ask(one, text)
        # FineWeb judges what C4's rules, without the terminal punctuation, have left of a text.
        row["fineweb_after_c4"] = ask(found["fineweb"], left)[0] if not row["c4_of_fineweb"] else row["c4_of_fineweb"]
        rows.append(row)
    return rows


def words(texts):
    """Return the rows of some texts: words only."""
    return [dict(zip(("starts", "ends"), spans(text), strict=True)) for text in texts]


def main():
    mode, source, target = sys.argv[1:]
    texts = pq.read_table(source, columns=["text"])["text"].to_pylist()
    # Long texts first, so that the two processes end together.
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    tasks = [[texts[i] for i in order[k : k + STEP]] for k in range(0, len(order), STEP)]
    with Pool(2) as pool:
        rows = []
        for part in pool.imap({"decide": decide, "words": words}[mode], tasks):
            rows.extend(part)
            print(f"\rdatatrove: {len(rows)} of {len(texts)} texts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    rows = [rows[i] for i in back]
    kinds = {"starts": pa.large_list(pa.int32()), "ends": pa.large_list(pa.int32())}
    columns = {k: pa.array([r[k] for r in rows], kinds.get(k, pa.string())) for k in (rows[0] if rows else kinds)}
    pq.write_table(pa.table(columns), target, compression="zstd")


if __name__ == "__main__":
    main()
