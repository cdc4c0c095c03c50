"""What a character is, for rules that other people wrote down in Python: bits per code point, looked up by kernels.

The bits up to WORD are Python's own (`str.isspace`, `str.isalpha`, ..., `unicodedata`). The others are the character sets of the
published rules and of the English splitter, as code point ranges:
- SYMBOL: what datatrove's Gopher rules count as punctuation (`PUNCTUATION_SET` of src/datatrove/utils/text.py, v0.10.1);
- TERMINAL: what ends a line in FineWeb (`TERMINAL_PUNCTUATION` there: Unicode's Sentence_Terminal and a few more);
- STOP: what ends a sentence for spaCy's rule-based sentencizer (https://spacy.io/api/sentencizer): TERMINAL
  without its newer scripts;
- the rest: what spaCy's English tokenizer (https://spacy.io/usage/linguistic-features#tokenization) holds to be letters,
  signs that part from a word's front or back, and so on; where its tables list a script's letters one by one, a category within
  the script's blocks stands here, and Unicode characters younger than its tables are left out.
"""

import functools
import unicodedata

import numpy as np

from filters.shared.text import Array

# Kernels hold the bits as constants, and numba's cache looks at a kernel's own file only: after a change here, touch its users.
SPACE, ALPHA, UPPER, DIGIT, DECIMAL, PUNCT, LINE, WORD = (1 << i for i in range(8))
SYMBOL, TERMINAL, STOP = (1 << i for i in range(8, 11))
LETTER, LOWER, CAPITAL, FRONT, BACK, ICON, QUOTE, MONEY, BEFORE_STOP = (1 << i for i in range(11, 20))

TABLE = 0x32400  # no character above has any bit: variation selectors, private use

_LINE = "A-D 1C-1E 85 2028-2029"
_SYMBOL = (
    "0-8 B-1F 21-2F 3A-40 5B-60 7B-9F AB B4 BB 2013-2014 2019 201C-201E 2026 2236 2501 25BA 3001-3002 3008-300D 3010-3011 FF01 \
FF05 FF08-FF09 FF0C FF0E FF11 FF1A-FF1B FF1F FF5E"
)
_STOP = (
    "21 2E 3F 589 61F 6D4 700-702 7F9 964-965 104A-104B 1362 1367-1368 166E 1735-1736 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B \
1B5E-1B5F 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 2E2E 2E3C 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 \
AA5D-AA5F AAF0-AAF1 ABEB \
FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF \
11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11A42-11A43 11A9B-11A9C 11C41-11C42 \
16A6E-16A6F 16AF5 16B37-16B38 16B44 1BC9F 1DA88"
)
_TERMINAL = (
    "61D-61E 837 839 83D-83E 17D4-17D6 17D9-17DA 1B7D-1B7E 2E53-2E54 10F55-10F59 10F86-10F89 11944 11946 11EF7-11EF8 \
11F43-11F44 16E98"
)
_FRONT = (
    "21-2C 3A-3F 5B 5D 5F-60 7B 7D A1 A3 A5 A7 AB B4 B7 BB BF 60C 61B 61F 66A 6D4 964 E3F 2013-2014 2018-201A 201C-201E 2026 \
20A0-20BF 2329-232A 27E6-27E7 3001-3002 3008-3011 3014-3015 FDFC FF01 FF08-FF09 FF0C FF1A-FF1B FF1F FF5E"
)
_MONEY = "24 A3 A5 E3F 20A0-20BF FDFC"
_FRONT_ONLY = f"{_MONEY} 25 2B 3D A7"
_QUOTE = "22 27 2C 60 AB B4 BB 2018-201A 201C-201E 2329-232A 27E6-27E7 3008-3011 3014-3015 FF08-FF09"
_BEFORE_STOP = f"{_QUOTE} 21 23 25-26 28-2B 2D 3A-3C 3E-3F 5B 5D 5F 7B-7D A1 B2 B7 BF 60C 61B 61F 66A 2026 \
FF01 FF0C FF1A-FF1B FF1F FF5E"
_UNCASED = (
    "591-5F4 620-64A 66E-6D5 6E5-6FF 750-77F 8A0-8BD 900-9FF B80-CFF D80-DFF 1100-137F 2E80-2FDF 2FF0-30FF 31C0-31EF \
3200-4DBF 4E00-9FFF AC00-D7AF F900-FAFF FB1D-FBB1 FBD3-FD3D FD50-FDC7 FDF0-FDFB FE30-FE4F FE70-FEFC 1EE00-1EEBB 1F200-1F2FF \
20000-2A6DF 2A700-2EBEF 2F800-2FA1F"
)
# Latin, then the letters of modern Greek, Russian, Ukrainian, Macedonian and Tatar.
_CASED = (
    "41-5A 61-7A C0-2AF 386-38F 391-3A9 3AC-3AF 3B1-3C9 3CC-3CE 400-401 403-40A 40C-40D 410-451 453-45A 45C-45D 490-491 496-497 \
4A2-4A3 4AE-4AF 4BA-4BB 4D8-4D9 4E8-4E9 1D00-1D25 1D6B-1D77 1D79-1D9A 1E00-1EFF 2C60-2C7B 2C7E-2C7F A722-A7B9 A7FA \
AB30-AB5A AB60-AB64 FF21-FF3A FF41-FF5A"
)
_YOUNG_ICONS = (
    "166D 2B97 2BC9 2BFF 2E50-2E51 32FF FD40-FD4F FDCF FDFE-FDFF 1019C 11FD5-11FF1 1CF50-1CFC3 1D1E9-1D1EA 1E14F 1ED2E \
1F10D-1F10F 1F16C-1F16F 1F1AD 1F6D5-1F6DF 1F6FA-1F6FF 1F7D9-1F7FF 1F8B0-1F8FF 1F90C-1F90F 1F93F 1F971-1F972 1F977-1F979 1F97B \
1F9A3-1F9AF 1F9BA-1F9BF 1F9C3-1F9CF 1FA00-1FA5F 1FA6E-1FBFF"
)


def mark(bits: Array, ranges: str, bit: int) -> None:
    """Set `bit` for every code point of `ranges`: hexadecimal, separated by spaces, inclusive."""
    for part in ranges.split():
        low, _, high = part.partition("-")
        bits[int(low, 16) : int(high or low, 16) + 1] |= np.uint32(bit)


@functools.cache
def table() -> Array:
    """Return the bits of every code point below TABLE."""
    bits = np.zeros(TABLE, np.uint32)
    upper = np.zeros(TABLE, bool)
    icons = np.zeros(TABLE, bool)
    for cp in range(TABLE):
        char = chr(cp)
        category = unicodedata.category(char)
        if category in ("Cn", "Co", "Cs"):
            continue
        flags = (
            (SPACE if char.isspace() else 0)
            | (ALPHA if category[0] == "L" else 0)
            | (UPPER if char.isupper() else 0)
            | (DIGIT if char.isdigit() else 0)
            | (DECIMAL if category == "Nd" else 0)
            | (PUNCT if category[0] == "P" else 0)
            | (WORD if char.isalnum() else 0)
        )
        if flags:
            bits[cp] = flags
        upper[cp] = category == "Lu"
        icons[cp] = category == "So"
    for ranges, bit in (
        (_LINE, LINE),
        (f"{_SYMBOL} {_STOP} {_TERMINAL}", SYMBOL),
        (f"{_STOP} {_TERMINAL}", TERMINAL),
        (_STOP, STOP),
        (_FRONT, FRONT | BACK),
        (_QUOTE, QUOTE),
        (_MONEY, MONEY),
        (f"{_BEFORE_STOP} 30-39", BEFORE_STOP),
        (_UNCASED, LETTER | LOWER | CAPITAL | BEFORE_STOP),
    ):
        mark(bits, ranges, bit)
    only = np.zeros(TABLE, np.uint32)
    mark(only, _FRONT_ONLY, BACK)
    bits &= ~only
    cased = np.zeros(TABLE, np.uint32)
    mark(cased, _CASED, LETTER)
    cased[[0xD7, 0xF7, 0x1C0, 0x1C1, 0x1C2, 0x1C3, 0x387]] = 0
    neither = [0x1BB, 0x1C5, 0x1C8, 0x1CB, 0x1F2]
    bits[neither] |= np.uint32(LETTER)
    cased[neither] = 0
    bits[(cased != 0) & upper] |= np.uint32(LETTER | CAPITAL)
    bits[(cased != 0) & ~upper] |= np.uint32(LETTER | LOWER | BEFORE_STOP)
    young = np.zeros(TABLE, np.uint32)
    mark(young, _YOUNG_ICONS, 1)
    bits[icons & (young == 0)] |= np.uint32(ICON | FRONT | BACK)
    return bits
