r"""Rules for alt texts: DataComp's basic filter (Gadre et al. 2023, arXiv 2304.14108), LAION, Data-Juicer's LLaVA recipe.

Looks at the assistant text of samples of task `caption` that have an image, or of all of task `caption` with `needs_image:
false` (a list of alt texts whose pictures are not downloaded yet); null for all others.

- `words` (count): words between white space of any kind (Python's `str.split`). Bound: at least 3 (DataComp basic: more
  than 2).
- `characters` (count): code points, white space before and after included. Bound: at least 6 (DataComp basic: more than 5).
- `fasttext_words` (count): words between ASCII white space and NUL, a newline being one of its own, as fastText cuts them;
  a no-break space cuts nothing. No bound here: DataComp's image-based filter asks for more than 1 of these, and more than 5
  characters.
- `alphanumeric` (0..1): share of letters, digits and combining marks in all characters but white space around. Bound: at
  least 0.60 (Data-Juicer, https://github.com/datajuicer/data-juicer,
  configs/data_juicer_recipes/llava-pretrain-refine.yaml).
- `boilerplate` (count): how many of these kinds of text that says nothing about the picture it is. Bound: at most 0. No
  published list; ours, after the web alt texts of LAION (img2dataset's test file):
  - `file name`: the whole caption is a file name or a camera's number (`IMG_2041.JPG`, `DSC 0012`, `photo-1.png`) or an
    address;
  - `placeholder`: the whole caption is "image", "photo 3", "untitled", "logo", "no image available", "image not found",
    ...;
  - `instruction`: "click to enlarge", "click here", "hover to zoom", "view larger", "download image", "image may contain",
    ...;
  - `offer`: "buy now", "add to cart", "free shipping", "best price", "% off", "for only $9.99", ...;
  0 above `max_words` words (default 60): a long description may quote a sign that says "25% off".
- `markup` (0 or 1): has tags (`<br>`), entities (`&nbsp;`) or a template's braces (`{{ title }}`). No bound: the words may
  still be good.

The two bounds are DataComp's exactly: https://github.com/mlfoundations/datacomp, baselines/apply_filter.py, compared
caption by caption in benchmarks/datacomp_parity.py. Its other rules are filters of their own: the language (`language`),
`image_size` and `aspect_ratio`. LAION-400M's alt texts of 5 characters and more are `characters` of at least 5. Spam is a
filter of its own too: `alt_text_spam`.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.text import (
    Array,
    assistant,
    buffers,
    class_of,
    classes,
    column,
    decode,
    has_image,
    is_task,
    kernel,
    ratio,
    table,
)

_EXTENSION = r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|psd|avif|raw)"
_THING = (
    r"(?:an? |the |my |your |this |main |default |featured |sample |stock |related |"
    r"product |article |blog |post |hero |header |cover )*"
)
_NOUN = (
    r"(?:image|images|img|picture|pictures|pic|photo|photos|photograph|thumbnail|thumb|logo|icon|banner|screenshot|"
    r"screen ?shot|untitled|placeholder|avatar|figure|graphic|gallery|slide|video|alt ?text|alt|caption|null|none|nan|"
    r"undefined|n/?a|unknown|description|title|blank|spacer|loading|default|profile picture|profile photo|file)"
)
RULES = {
    "file name": r"^\s*(?:\S*[^\s.]" + _EXTENSION + r"(?:\?\S*)?|[^.!?]{1,80}" + _EXTENSION
    + r"|(?:img|dsc[nf]?|dscf?|pict?|image|photo|screenshot|mvi|p|wp|pxl|vid|gopr|sam|cimg|imgp?)[-_ ]?\d{3,}[-_\d ()a-z]{0,12}"
    r"|(?:https?://|www\.)\S+)\s*$",
    "placeholder": r"^[\s\W]*" + _THING + _NOUN + r"(?:[\s\W_]*(?:#|no\.?|number)?[\s\W_]*\d{0,4}"
    r"(?: of \d+| here| goes here)?)[\s\W]*$"
    r"|(?:\bno (?:image|photo|picture)s?(?: is| was)?(?: available| found| yet)?\s*[.!]?\s*$)"
    r"|\b(?:image|photo|picture|file)s? (?:is |was )?(?:not (?:found|available)|unavailable|coming soon|missing)\b"
    r"|\blorem ipsum\b",
    "instruction": r"\b(?:click|tap|press|hover|roll ?over|mouse ?over)(?: (?:here|on|over|the|this|image|images|photo|picture|"
    r"thumbnail|above|below|it|and|hold|or))* (?:to|for) (?:\w+ ){0,2}?"
    r"(?:enlarge|zoom|view|expand|open|see|download|read|play|magnify|larger?|bigger|full|more|details?|high|hi)"
    r"|\bclick here\b|\b(?:view|see|show) (?:larger|full[- ]?size|bigger|the full|original)\b"
    r"|\b(?:download|share|save|pin|print|report|embed) (?:this |the )?(?:image|photo|picture|pin|wallpaper)\b"
    r"|\b(?:image|photo|picture) may contain\b|\benlarge (?:this |the )?(?:image|photo|picture)\b"
    r"|\b(?:right[- ]click|scroll down|swipe (?:left|right)|read more|learn more|sign up (?:now|today|for)|subscribe)\b"
    r"|\ball rights reserved\b",
    "offer": r"\b(?:buy|order|shop|book|call) (?:it |yours |online )?(?:now|today)\b|\badd to (?:cart|basket|bag|wish ?list)\b"
    r"|\b(?:free|fast|worldwide) (?:shipping|delivery)\b|\b(?:best|low(?:est)?|cheap(?:est)?|great|discount(?:ed)?) prices?\b"
    r"|\b\d{1,2} ?% (?:off|discount)\b|\b(?:only|just|now|from) (?:us|usd)? ?[$€£] ?\d|\b(?:limited[- ]time|special) offer\b"
    r"|\bin stock\b|\bmoney[- ]back\b|\bsale price\b|\bsave (?:up to )?(?:[$€£] ?\d|\d{1,2} ?%)|\bcoupons? codes?\b"
    r"|\bpromo codes?\b|\bbuy \d get \d\b",
}  # fmt: skip
MARKUP = (
    r"</?(?:a|b|i|p|br|hr|div|span|img|strong|em|h[1-6]|ul|li|font|script)\b[^>]{0,200}>|&(?:nbsp|amp|lt|gt|quot|#\d{2,5});"
    r"|\{\{[^}]{0,80}\}\}|\$\{[^}]{0,80}\}|\[(?:caption|img|gallery|url)\b"
)


@kernel
def _count(data: Array, offsets: Array, classes: Array) -> Array:
    """Return per text: words, characters, fastText's words, characters without white space around, letters, digits and marks."""
    n = len(offsets) - 1
    out = np.zeros((n, 5), np.int64)
    for t in range(n):
        i = offsets[t]
        in_word = False
        in_ascii_word = False
        pending = 0
        while i < offsets[t + 1]:
            cp, step = decode(data, i, offsets[t + 1])
            kind = class_of(classes, cp)
            out[t, 1] += 1
            if cp == 0 or cp == 32 or 9 <= cp <= 13:
                in_ascii_word = False
                if cp == 10:
                    out[t, 2] += 1
            elif not in_ascii_word:
                in_ascii_word = True
                out[t, 2] += 1
            if kind & 4:
                in_word = False
                if out[t, 3]:
                    pending += 1
            else:
                if not in_word:
                    out[t, 0] += 1
                in_word = True
                out[t, 3] += pending + 1
                pending = 0
                if kind & 19:
                    out[t, 4] += 1
            i += step
    return out


@scorer(
    version=2,
    scores={
        "words": pa.int64(),
        "characters": pa.int64(),
        "fasttext_words": pa.int64(),
        "alphanumeric": pa.float64(),
        "boilerplate": pa.int64(),
        "markup": pa.int64(),
    },
    bounds={"words": (3, None), "characters": (6, None), "alphanumeric": (0.60, None), "boilerplate": (None, 0)},
)
def caption_rules(batch: pa.RecordBatch, *, needs_image: bool = True, max_words: int = 60) -> pa.RecordBatch:
    """Score the captions of `batch`."""
    texts = assistant(batch)
    raw = buffers(texts)
    counts = _count(raw.data, raw.offsets, classes())
    applies = raw.valid & (has_image(batch) | (not needs_image)) & is_task(batch, "caption")
    # Only captions go through the patterns.
    where = np.flatnonzero(applies)
    captions = texts.take(pa.array(where))
    kinds = np.zeros(len(texts), np.int64)
    short = counts[where, 0] <= max_words
    for pattern in RULES.values():
        kinds[where] += np.asarray(pc.match_substring_regex(captions, pattern, ignore_case=True)) & short
    markup = np.zeros(len(texts), np.int64)
    markup[where] = np.asarray(pc.match_substring_regex(captions, MARKUP, ignore_case=True)).astype(np.int64)
    return table(
        words=column(counts[:, 0], applies, pa.int64()),
        characters=column(counts[:, 1], applies, pa.int64()),
        fasttext_words=column(counts[:, 2], applies, pa.int64()),
        alphanumeric=column(ratio(counts[:, 4], counts[:, 3]), applies, pa.float64()),
        boilerplate=column(kinds, applies, pa.int64()),
        markup=column(markup, applies, pa.int64()),
    )
