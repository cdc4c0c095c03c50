r"""Words that no language writes, by the pairs of their letters.

Looks at the assistant text of samples whose task is not `code`. A word is a run of ASCII letters with nothing but white space
and punctuation at its sides, of 4 to 40 letters, not all capitals. Applies from `min_words` such words on (default 4), where
ASCII letters are at least 60 % of all characters that are not white space and 98 % of all letters (Polish or Czech would look
implausible), and no `\`, `$`, `{` or `<` stands in the text: LaTeX,
code, other scripts, formulas and short texts are null.

- `bits` (bits per letter): mean, over all letters of those words and the end of each, of -log2 of the probability of a
  letter after the one before it. Bound: at most 5.2. Of 25,926 texts of the alt texts and GPT-written answers named below the
  highest is 4.9, "Baba Yaga - Art Card by Yakovlev Art"; of texts of four words drawn at random from the alphabet 99.3 % are
  above, of eight words and more all.
- `implausible_words` (0..1): share of words above 5.5 bits per letter. Bound: at most 0.5. Null below `enough_words` words
  (default 10): in "Difference between elcb and rccb" it is half of the four, in "... related to libz: shell('dpkg -l | grep
  zlib')" a third of nine. Names, parts and commands come in twos and threes.

Source: Shannon 1951, "Prediction and Entropy of Printed English" (https://doi.org/10.1002/j.1538-7305.1951.tb01366.x) for the
measure; the bounds are ours, there is no published number. The table of letter pairs is ours too: counted over the words
that occur at least 3 times in GSM8K (MIT), GPTeacher (MIT), NLVR (CC-BY-4.0) and the alt texts of img2dataset's test file
(MIT), each weighed by the square root of its count, plus 0.5 per pair; in eighths of a bit. Data-Juicer and dolma use
KenLM or unigram models for this, which have to be downloaded. Left out: real words in senseless order.
"""

import base64
import functools

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.text import (
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

# 27 x 27: row the letter before (a..z, start), column the letter (a..z, end).
_TABLE = (
    r"Q7IuNMK~xxCQmRKB^OmFRu~}{F)ukqDnud}FG5liS8`t)HC-1*P8UX98z(p&SyEjrSSc7(ElC$(VHh82Atg~!6jM(mHXI^sX?-z$B_BsfFcd&I"
    r"Nf%99F+e^eNna--Oer@&Trg@2Av`4=Dl;}mHef^}D;hg9J{K4zL@+ikI8qZFS4dJBAV+Z&ad974aTH#096KZ+aaM6PaUCB?PDK?~Fd!gzU@1f_"
    r"CP{Z5CORf}Q+F|63>835LJ($VSQmF?G(0mGOi(H`BP(S~cP?TVCN&)>AT20YQD8VCCl4JfNhls2LMUKDT{15aN?cqJTwGizLP%U(ToE~3LqS{<"
    r"TwGjBTrDI(N<9xkH$W6pNi9MsE<tQM8az5|J!~v&5E(!?C=@SDUKoEo8azxJJAX(gEGjouZXsV65+z1V5=m248F*DcBv2b1ct<HuCuLG$Fkl-Y"
    r"O(7i{H5Eo8OgBD3E-F7!Ngfz6HB?(QOcXIPDJnNHEkiR<G9DljBqmrFCL|myB|bVzB^XITLlja_Bp!K68bMkbBV-vTCL>r;V={RmNm^Q3T3T9K"
    r"T3T90T3T9KMlV`O0a{vGT3Rd_IxQ;`Ju*faWic`;Egd>&D<C5-Hb-wJZWk#|D@YtkTq7ZWH#a&zC?`WtBo`-XIc+*=3LZ%|RuoEL92IhJGeAZj"
    r"K5`);D=1bvS1VH#Br7E>AUP^$Ct*YzAs9m^RTdZ-QAlS)K1DDWZdXYMR$E&UU2arbT_8|yLq~2$T2pR5ZZ#D=KRXjdR2~&?KQdk<8B1>~B0OGi"
    r"GFnA%8XHO?P8UXCFdJZCL``5c5=BT(6**u+OEFFrEIBYSB}qhKEMZ|UFES%6ayTF>LsK|mUO@#EM_XGATSYw=TU#neLmgXNN?ThmLR&^F9vvSd"
    r"8zUnmDJCT{G$tY~Djz!|8Xqt+C0RO1e*"
)


@functools.cache
def _pairs() -> Array:
    return np.frombuffer(base64.b85decode(_TABLE), np.uint8).reshape(27, 27).astype(np.int64)


@kernel
def _measure(data: Array, offsets: Array, classes: Array, pairs: Array, limit: int) -> Array:
    """Return per text: words, their letters and ends, their eighths of bits, words above `limit` eighths per letter.

    Then ASCII letters, characters that are not white space, signs of markup, other letters.
    """
    n = len(offsets) - 1
    out = np.zeros((n, 8), np.int64)
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        size = 0
        capitals = 0
        cost = 0
        before = 26
        good = True
        while i <= end:
            if i < end:
                cp, step = decode(data, i, end)
                kind = class_of(classes, cp)
            else:
                cp, step, kind = 32, 1, 4
            low = cp | 32
            if cp < 128 and 97 <= low <= 122:
                out[t, 4] += 1
                if cp < 97:
                    capitals += 1
                cost += pairs[before, low - 97]
                before = low - 97
                size += 1
            elif kind & 19:
                if kind & 1:
                    out[t, 7] += 1
                good = False  # a digit or another script's letter: not a word of ours
            elif kind & 32 == 0:
                if good and 4 <= size <= 40 and capitals < size:
                    cost += pairs[before, 26]
                    out[t, 0] += 1
                    out[t, 1] += size + 1
                    out[t, 2] += cost
                    if cost > limit * (size + 1):
                        out[t, 3] += 1
                size = 0
                capitals = 0
                cost = 0
                before = 26
                good = True
                if cp == 92 or cp == 36 or cp == 123 or cp == 60:
                    out[t, 6] += 1
            if kind & 4 == 0:
                out[t, 5] += 1
            i += step
    return out


@scorer(
    version=2,
    scores={"bits": pa.float64(), "implausible_words": pa.float64()},
    bounds={"bits": (None, 5.2), "implausible_words": (None, 0.5)},
)
def gibberish(batch: pa.RecordBatch, *, min_words: int = 4, enough_words: int = 10) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    raw = buffers(assistant(batch))
    m = _measure(raw.data, raw.offsets, classes(), _pairs(), 44)
    ascii_text = (m[:, 4] * 10 >= m[:, 5] * 6) & (m[:, 4] >= m[:, 7] * 49)
    applies = (m[:, 0] >= max(min_words, 1)) & ascii_text & (m[:, 6] == 0) & ~is_task(batch, "code")
    return table(
        bits=column(ratio(m[:, 2], m[:, 1] * 8), applies, pa.float64()),
        implausible_words=column(ratio(m[:, 3], m[:, 0]), applies & (m[:, 0] >= enough_words), pa.float64()),
    )
