"""Scripts, and characters that say that a text was decoded or read wrongly.

Looks at the assistant text, not for task `code`. Null where there is none; the shares of letters and words are null without
letters.

- `main_script` (0..1): share of the letters that belong to the declared scripts (parameter `scripts`, names as in Unicode's
  Scripts.txt: `[Latin, Greek]`), or, with none declared, to the script that the text has most of. Han, kana, bopomofo and
  hangul count as one, as Japanese and Korean mix them. No bound: a text in two languages is none the worse.
- `mixed_words` (0..1): share of the words whose letters are of two scripts, such as a Cyrillic `а` in a Latin word: the mark
  of OCR and of look-alikes. Han (as above) next to another script is no mixture. Bound: at most 0.10.
- `replacement` (count): U+FFFD, which a decoder puts where bytes were no character (Unicode 16, chapter 23.8).
- `control` (count): characters with no place in text: C0 and C1 controls but tab, line feed, form feed and carriage return;
  noncharacters; private use.
- `mojibake` (count): sequences that are UTF-8 read as Latin-1 or Windows-1252 (`cafÃ©`, `donâ€™t`), where reading them back
  gives a letter or a punctuation mark of a common script.
- `broken` (0..1): share of the characters that are one of these three. Bound: at most 0.01.

Source of the bounds: none is published for either; both are ours. A word of two scripts is what Unicode Technical Standard 39
(section 5.1) calls mixed-script, and its `single script` profile allows none; 0.10 leaves room for names and formulas. On
9,829 alt texts of LAION (rom1504/img2dataset) they drop what docs/results/ocr_math.md lists. How mojibake arises is in ftfy's
documentation (https://ftfy.readthedocs.io); its rules for less certain cases are left out, as is every other pair of
encodings. Scripts are read off the characters' names, so letters with other names (symbols, enclosed letters) belong to none.
"""

import contextlib
import functools
import unicodedata

import numpy as np
import pyarrow as pa

from catalog.errors import UserError, nearest
from filters.base import scorer
from filters.shared.text import (
    IGNORED,
    LETTER,
    WORD,
    Array,
    assistant,
    buffers,
    class_of,
    classes,
    column,
    decode,
    is_task,
    kernel,
    ratio,
    table,
)

_EAST = ("Han", "Hiragana", "Katakana", "Bopomofo", "Hangul")
# First words of character names that are not their script's name.
_NAMED = {
    "CJK": "Han", "IDEOGRAPHIC": "Han", "KANGXI": "Han", "KATAKANA-HIRAGANA": "Han", "HENTAIGANA": "Han", "OLD": "",
    "MODIFIER": "", "MATHEMATICAL": "", "SCRIPT": "", "DOUBLE-STRUCK": "", "BLACK-LETTER": "", "TURNED": "", "FEMININE": "",
    "MASCULINE": "", "MICRO": "", "OHM": "", "KELVIN": "", "ANGSTROM": "", "ROMAN": "", "EULER": "", "INFORMATION": "",
    "ALEF": "", "BET": "", "GIMEL": "", "DALET": "", "VERTICAL": "", "CARON": "", "PLANCK": "", "VEDIC": "",
}  # fmt: skip
_TABLE = 0x20000


@functools.cache
def scripts_of_letters() -> tuple[Array, tuple[str, ...]]:
    """Return the script of every code point below 0x20000 (0: no letter, or of no one script) and the scripts' names."""
    out = np.zeros(_TABLE, np.int16)
    numbers: dict[str, int] = {"": 0, "Han": 1}
    for cp in range(_TABLE):
        char = chr(cp)
        if unicodedata.category(char)[0] != "L":
            continue
        words = unicodedata.name(char, "").split(" ")
        first = words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH", "SMALL") and len(words) > 1 else words[0]
        script = _NAMED.get(first, first.title())
        if script in _EAST:
            script = "Han"
        out[cp] = numbers.setdefault(script, len(numbers))
    return out, tuple(numbers)


def _windows_1252() -> Array:
    """Return the byte that each code point below 0x2200 is in Windows-1252 or Latin-1; -1: none."""
    out = np.full(0x2200, -1, np.int16)
    for byte in range(0x80, 0x100):
        out[byte] = byte
        with contextlib.suppress(UnicodeDecodeError):
            out[ord(bytes([byte]).decode("cp1252"))] = byte
    return out


_BYTES = _windows_1252()


@kernel
def _plausible(cp: int) -> bool:
    """Return whether a character is one that text is full of: accented Latin, Greek, Cyrillic, punctuation, ideographs."""
    if cp < 0x250:
        return cp >= 0xA0
    if 0x386 <= cp < 0x3CF or cp == 0x401 or 0x410 <= cp < 0x450 or cp == 0x451 or 0x5D0 <= cp < 0x5EB:
        return True
    if 0x621 <= cp < 0x64B or 0x904 <= cp < 0xA00 or 0xE01 <= cp < 0xE5C or 0x1EA0 <= cp < 0x1F00:
        return True
    if 0x2010 <= cp < 0x2040 or cp == 0x20AC or cp == 0x2122 or 0x2190 <= cp < 0x2300 or 0x2500 <= cp < 0x27C0:
        return True
    return (
        0x3000 <= cp < 0x3100
        or 0x4E00 <= cp < 0xA000
        or 0xAC00 <= cp < 0xD7A4
        or cp == 0xFEFF
        or 0x1F300 <= cp < 0x1FB00
    )


@kernel
def _control(cp: int) -> bool:
    """Return whether a character has no place in text."""
    if cp < 0xA0:
        return cp >= 0x7F or (cp < 32 and cp != 9 and cp != 10 and cp != 12 and cp != 13)
    return 0xE000 <= cp < 0xF900 or cp >= 0xF0000 or (cp & 0xFFFE) == 0xFFFE or 0xFDD0 <= cp < 0xFDF0


@kernel
def _byte(table: Array, cp: int) -> int:
    return int(table[cp]) if cp < 0x2200 else -1


@kernel
def _measure(
    data: Array, offsets: Array, wanted: Array, kinds: Array, scripts: Array, chosen: Array, table: Array, several: int
) -> Array:
    """Return per text: letters with a script, letters of the main one, words, mixed words, U+FFFD, controls, mojibake
    sequences, their characters, all characters."""
    n = len(offsets) - 1
    out = np.zeros((n, 9), np.int64)
    counts = np.zeros(several, np.int64)
    for t in range(n):
        if not wanted[t]:
            continue
        counts[:] = 0
        i = offsets[t]
        end = offsets[t + 1]
        word = False  # in a word with a letter that has a script
        script = 0
        mixed = False
        while i < end:
            cp, step = decode(data, i, end)
            out[t, 8] += 1
            kind = class_of(kinds, cp)
            if cp == 0xFFFD:
                out[t, 4] += 1
            elif _control(cp):
                out[t, 5] += 1
            lead = _byte(table, cp)
            size = 0
            if 0xC2 <= lead < 0xE0:
                size = 2
            elif 0xE0 <= lead < 0xF0:
                size = 3
            elif 0xF0 <= lead < 0xF5:
                size = 4
            if size:
                # Read the characters back into bytes and these as UTF-8.
                value = lead & (0xFF >> (size + 1))
                k = i + step
                bytes_found = 1
                while bytes_found < size and k < end:
                    following, width = decode(data, k, end)
                    b = _byte(table, following)
                    if b < 0x80 or b >= 0xC0:
                        break
                    value = (value << 6) | (b & 0x3F)
                    bytes_found += 1
                    k += width
                # `Å»`, `Ä«` may be the end of a quotation.
                quote = lead == 0xC4 or lead == 0xC5
                quote &= data[k - 1] == 0xAB or data[k - 1] == 0xBB or data[k - 1] == 0xA0
                if bytes_found == size and _plausible(value) and not quote:
                    out[t, 6] += 1
                    out[t, 7] += size
                    out[t, 8] += size - 1
                    word = False
                    script = 0
                    mixed = False
                    i = k
                    continue
            if kind & 8 or kind & (WORD | IGNORED) == 0:  # an ideograph, or the end of a word
                if word:
                    out[t, 2] += 1
                    out[t, 3] += mixed
                word = False
                script = 0
                mixed = False
            if kind & LETTER:
                own = int(scripts[cp]) if cp < 0x20000 else 1
                if own:
                    counts[own] += 1
                    out[t, 0] += 1
                    if kind & 8:
                        out[t, 2] += 1
                    else:
                        mixed |= script > 1 and own > 1 and script != own  # 1: "PC를" and "Tシャツ" are written so
                        script = own
                        word = True
            i += step
        if word:
            out[t, 2] += 1
            out[t, 3] += mixed
        most = np.int64(0)
        declared = np.int64(0)
        any_declared = False
        for s in range(1, several):
            most = max(most, counts[s])
            if chosen[s]:
                any_declared = True
                declared += counts[s]
        out[t, 1] = declared if any_declared else most
    return out


def _chosen(scripts: tuple[str, ...] | list[str], names: tuple[str, ...]) -> Array:
    out = np.zeros(len(names), np.bool_)
    for script in scripts:
        known = "Han" if script.title() in _EAST else script.title()
        if known not in names or not known:
            every = sorted({*names, *_EAST} - {""})
            msg = f"no script named `{script}`{nearest(script, every)}"
            raise UserError(msg, usage=True)
        out[names.index(known)] = True
    return out


@scorer(
    version=1,
    scores={
        "main_script": pa.float64(),
        "mixed_words": pa.float64(),
        "replacement": pa.int64(),
        "control": pa.int64(),
        "mojibake": pa.int64(),
        "broken": pa.float64(),
    },
    bounds={"mixed_words": (None, 0.10), "broken": (None, 0.01)},
)
def charset(batch: pa.RecordBatch, *, scripts: tuple[str, ...] = ()) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    of_letters, names = scripts_of_letters()
    raw = buffers(assistant(batch))
    wanted = raw.valid & ~is_task(batch, "code")
    out = _measure(raw.data, raw.offsets, wanted, classes(), of_letters, _chosen(scripts, names), _BYTES, len(names))
    letters, main, words, mixed, replacement, control, mojibake, garbled, characters = out.T
    some = wanted & (characters > 0)
    return table(
        main_script=column(ratio(main, letters), letters > 0, pa.float64()),
        mixed_words=column(ratio(mixed, words), words > 0, pa.float64()),
        replacement=column(replacement, some, pa.int64()),
        control=column(control, some, pa.int64()),
        mojibake=column(mojibake, some, pa.int64()),
        broken=column(ratio(replacement + control + garbled, characters), some, pa.float64()),
    )
