"""What a text is made of: its characters, words and lines, as counts and shares.

Looks at the assistant text; null where there is none. A word is what white space separates; a line ends where Python's
`str.splitlines` ends it.

Counts, for any text. None of them has a default bound, except that of a word no one could have written:
- `characters`, `words`, `lines` (counts).
- `words_with_letters` (count): words with a letter: what Data-Juicer's `words_num_filter` counts, but for 32 of 9,829 alt texts
  with no-break spaces, which end no word there.
- `mean_word_length`, `longest_word` (characters). Bound: the longest at most 1,000 (NeMo Curator's `LongWordFilter`, after C4's
  against minified scripts); null for `code`, and for a text whose script puts no spaces.
- `mean_line_length` (characters per line, line ends counted), `longest_line` (characters, without): Data-Juicer's
  `average_line_length_filter` (default at least 10; Common Crawl at most 1,500) and `maximum_line_length_filter` (5,000).
- `uppercase` (0..1): share of capitals in all letters. No published bound.
- `punctuation` (0..1): share of punctuation in all characters. No published bound.

Shares that tell prose from what is none, 0..1, for texts of `min_words` words or more (default 50, Gopher's shortest document),
null for the tasks `code` and `math`:
- `white_space`: share of characters. Bound: at most 0.25.
- `digits`: share of characters; a table or a receipt has many. No default bound; NeMo Curator has at most 0.15.
- `parentheses`: share of characters that are one of `()[]{}⟨⟩`. Bound: at most 0.1.
- `urls`: share of characters in addresses, `http://...` or `https://...`. Bound: at most 0.2.
- `plain`: share of ASCII letters, digits, line feeds and `?!,.`; null where fewer than half of the letters are ASCII. Spaces do
  not count: ordinary English has about 0.82. No default bound; NeMo Curator has at least 0.75 ("at most 25 % non-alphanumeric").
- `unended_lines`: share of lines that have words and do not end with `.`, `?`, `!` or a quotation mark, of any script. No default
  bound: a list of names has 1; NeMo Curator has at most 0.85.

Source of these bounds: NeMo Curator 1.4, https://github.com/NVIDIA-NeMo/Curator, nemo_curator/config/text/
heuristic_filter_english_pipeline.yaml and stages/text/filters/heuristic/string.py; of the others Data-Juicer 1.6.1,
https://github.com/datajuicer/data-juicer, data_juicer/ops/filter and
configs/data_juicer_recipes/redpajama-cc-2023-06-refine.yaml. The scores are those of the peers to six places on 29,065 real
texts, except that NeMo Curator counts five characters as white space where we count Unicode's, and takes ASCII marks only for
the end of a line. Left out of its list: symbol words, bullets, ellipses, words with letters, common words, repeated lines and
n-grams (`gopher_quality`, `gopher_repetition`), boilerplate (`c4`).
"""

import functools
import unicodedata

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.text import (
    ALONE,
    LETTER,
    SPACE,
    Array,
    assistant,
    borrowed,
    buffers,
    classes,
    column,
    decode,
    inlined,
    is_task,
    kernel,
    ratio,
    table,
)

_SPACE, _LETTER, _UPPER, _DIGIT, _PUNCTUATION, _PARENTHESIS, _END, _ALONE = 1, 2, 4, 8, 16, 32, 64, 128
_PLAIN, _ADDRESS, _LINE, _ASCII = 256, 512, 1024, 2048


@functools.cache
def _kinds() -> Array:
    """Return what every code point below 0x20000 is, as bits."""
    bits = {"Nd": _DIGIT, "Lu": _LETTER | _UPPER, "Lt": _LETTER | _UPPER}
    kinds = np.zeros(len(classes()), np.int64)
    for cp in range(len(kinds)):
        category = unicodedata.category(chr(cp))
        kinds[cp] = bits.get(category, _PUNCTUATION if category[0] == "P" else 0)
    kinds[(classes() & LETTER) != 0] |= _LETTER
    kinds[(classes() & SPACE) != 0] |= _SPACE
    kinds[(classes() & ALONE) != 0] |= _ALONE
    for characters, bit in (
        ("()[]{}⟨⟩", _PARENTHESIS),
        (".?!\"'”’»«“„…。！？｡」』؟।॥։። ⁇⁈⁉", _END),
        ("\n?!,.", _PLAIN),
        ("$-_@.&+/:=?#~!*(),", _ADDRESS),
        ("\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029", _LINE),
    ):
        for c in characters.replace(" ", ""):
            kinds[ord(c)] |= bit
    for cp in range(128):
        if chr(cp).isalnum():
            kinds[cp] |= _PLAIN | _ADDRESS
        if chr(cp).isalpha():
            kinds[cp] |= _ASCII
    return kinds


@inlined
def _address(data: Array, i: int, end: int) -> int:
    """Return how many bytes of `http://` or `https://` stand at byte `i`; 0 if none."""
    if i + 8 > end or data[i] != 104 or data[i + 1] != 116 or data[i + 2] != 116 or data[i + 3] != 112:
        return 0
    k = i + 5 if data[i + 4] == 115 else i + 4
    if k + 3 > end or data[k] != 58 or data[k + 1] != 47 or data[k + 2] != 47:
        return 0
    return int(k + 3 - i)


@inlined
def _hex(b: int) -> bool:
    return 48 <= b <= 57 or 65 <= b <= 70 or 97 <= b <= 102


@kernel
def _measure(data: Array, offsets: Array, kinds: Array) -> Array:
    """Return per text the counts that `COUNTS` names."""
    n = len(offsets) - 1
    data, kinds = borrowed(data), borrowed(kinds)
    out = np.zeros((n, 19), np.int64)
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        characters = letters = capitals = digits = marks = parentheses = white = plain = ascii_letters = alone = 0
        words = lettered = word = longest_word = word_letters = in_words = 0
        lines = line = longest_line = 0
        full_lines = unended = 0
        has_word = ended = False
        address_to = i  # bytes before it are part of an address
        in_addresses = 0
        while i < end:
            cp, step = decode(data, i, end)
            if cp < 0x20000:
                kind = kinds[cp]
            elif cp < 0x40000:
                kind = 130
            else:
                kind = 0
            characters += 1
            if kind & 1:
                white += 1
                if word:
                    words += 1
                    in_words += word
                    longest_word = max(longest_word, word)
                    if word_letters:
                        lettered += 1
                word = 0
                word_letters = 0
            else:
                word += 1
                has_word = True
                ended = kind & 64 != 0
                if kind & 2:
                    letters += 1
                    word_letters += 1
                    if kind & 4:
                        capitals += 1
                    if kind & 2048:
                        ascii_letters += 1
                    if kind & 128:
                        alone += 1
                elif kind & 8:
                    digits += 1
                elif kind & 16:
                    marks += 1
                if kind & 32:
                    parentheses += 1
            if kind & 256:
                plain += 1
            if cp == 104 and i >= address_to:
                head = _address(data, i, end)
                if head:
                    k = i + head
                    while k < end:
                        if data[k] < 128 and kinds[data[k]] & 512:
                            k += 1
                        elif k + 2 < end and data[k] == 37 and _hex(data[k + 1]) and _hex(data[k + 2]):
                            k += 3
                        else:
                            break
                    if k > i + head:
                        address_to = k
            if i < address_to:
                in_addresses += 1
            if kind & 1024:
                if cp == 13 and i + 1 < end and data[i + 1] == 10:
                    i += 1
                    characters += 1
                    white += 1
                    plain += 1
                lines += 1
                longest_line = max(longest_line, line)
                line = 0
                if has_word:
                    full_lines += 1
                    if not ended:
                        unended += 1
                has_word = False
            else:
                line += 1
            i += step
        if word:
            words += 1
            in_words += word
            longest_word = max(longest_word, word)
            if word_letters:
                lettered += 1
        if line:
            lines += 1
            longest_line = max(longest_line, line)
        if has_word:
            full_lines += 1
            if not ended:
                unended += 1
        row = out[t]
        row[0] = characters
        row[1] = words
        row[2] = lettered
        row[3] = in_words
        row[4] = longest_word
        row[5] = lines
        row[6] = longest_line
        row[7] = letters
        row[8] = capitals
        row[9] = digits
        row[10] = marks
        row[11] = parentheses
        row[12] = white
        row[13] = plain
        row[14] = ascii_letters
        row[15] = alone
        row[16] = in_addresses
        row[17] = full_lines
        row[18] = unended
    return out


COUNTS = (
    "characters", "words", "lettered", "in_words", "longest_word", "lines", "longest_line", "letters", "capitals", "digits",
    "marks", "parentheses", "white", "plain", "ascii_letters", "alone", "in_addresses", "full_lines", "unended",
)  # fmt: skip


@scorer(
    version=1,
    scores={
        "characters": pa.int64(),
        "words": pa.int64(),
        "words_with_letters": pa.int64(),
        "lines": pa.int64(),
        "mean_word_length": pa.float64(),
        "longest_word": pa.int64(),
        "mean_line_length": pa.float64(),
        "longest_line": pa.int64(),
        "uppercase": pa.float64(),
        "punctuation": pa.float64(),
        "white_space": pa.float64(),
        "digits": pa.float64(),
        "parentheses": pa.float64(),
        "urls": pa.float64(),
        "plain": pa.float64(),
        "unended_lines": pa.float64(),
    },
    bounds={
        "longest_word": (None, 1000),
        "white_space": (None, 0.25),
        "parentheses": (None, 0.1),
        "urls": (None, 0.2),
    },
)
def text_stats(batch: pa.RecordBatch, *, min_words: int = 50) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    raw = buffers(assistant(batch))
    counted = _measure(raw.data, raw.offsets, _kinds())
    m = {name: counted[:, i] for i, name in enumerate(COUNTS)}
    some = raw.valid & (m["characters"] > 0)
    prose = raw.valid & (m["words"] >= max(min_words, 1)) & ~is_task(batch, "code", "math")
    spaced = some & (m["alone"] * 2 < m["letters"] + 1) & ~is_task(batch, "code")
    english = prose & (m["letters"] > 0) & (m["ascii_letters"] * 2 >= m["letters"])

    def share(part: str, whole: str, applies: Array) -> pa.Array:
        return column(ratio(m[part], m[whole]), applies, pa.float64())

    return table(
        characters=column(m["characters"], raw.valid, pa.int64()),
        words=column(m["words"], raw.valid, pa.int64()),
        words_with_letters=column(m["lettered"], raw.valid, pa.int64()),
        lines=column(m["lines"], raw.valid, pa.int64()),
        mean_word_length=share("in_words", "words", raw.valid & (m["words"] > 0)),
        longest_word=column(m["longest_word"], spaced, pa.int64()),
        mean_line_length=share("characters", "lines", some),
        longest_line=column(m["longest_line"], raw.valid, pa.int64()),
        uppercase=share("capitals", "letters", raw.valid & (m["letters"] > 0)),
        punctuation=share("marks", "characters", some),
        white_space=share("white", "characters", prose),
        digits=share("digits", "characters", prose),
        parentheses=share("parentheses", "characters", prose),
        urls=share("in_addresses", "characters", prose),
        plain=share("plain", "characters", english),
        unended_lines=share("unended", "full_lines", prose),
    )
