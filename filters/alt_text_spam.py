r"""Alt texts written for search engines, not for readers: repeated words and phrases, lists of keywords, tags, part numbers,
offers.

Looks at the assistant text of samples of task `caption`, with a picture or without; null for all others. Words are runs of
letters and digits after NFKC and lower-casing.

- `repetition` (0..1): share of the words that stood before in the same caption. Bound: at most 0.5: a title said twice is
  half repeated.
- `repeated_phrase` (count): how often the most frequent run of three different words stands there. Bound: at most 2. Both
  are null above `max_words` words (default 60), because a long description repeats "of the" and "on the left" by nature;
  `repetition` also below `min_words` (default 8).
- `keywords` (count): pieces between commas, semicolons, bars, bullets or slashes, where the pieces have three words or
  fewer on average; 0 for other captions. Bound: at most 9.
- `hashtags` (count): `#word`. Bound: at most 3.
- `codes` (0..1): share of the white-space words that mix digits with letters, or are numbers of five digits or more: part
  numbers, sizes of files, hashes. Null below four words. Bound: at most 0.5.
- `offers` (count): prices, discounts, delivery and "buy now" in English, German, French, Spanish, Portuguese, Italian,
  Dutch, Russian, Polish, Turkish, Chinese and Japanese: how many of eight kinds. Bound: at most 2: a shop's title with one
  or two may still name what the picture shows ("Leather wallet - Free Shipping").

Source of the idea: Conceptual Captions drops alt texts with a high rate of repeated tokens, hashtags and search-engine
phrases (Sharma et al. 2018, https://aclanthology.org/P18-1238, section 3.2; it publishes no numbers). The bounds are ours,
from reading the hits in 9,829 alt texts of LAION (docs/results/instructions.md). Left out: that paper's parts of speech,
polarity and capitalisation, which need a tagger.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.text import (
    Array,
    assistant,
    assistant_tokens,
    buffers,
    class_of,
    classes,
    column,
    decode,
    extend,
    is_task,
    kernel,
    ratio,
    table,
)

_PRICE = (
    r"(?:[$€£¥₽₹]|\b(?:usd|eur|gbp|rs\.?|inr)\b) ?\d|\d ?(?:[€£¥₽₹]|(?:usd|eur|euros?|руб|zł|元|円)\b)|\d+ ?(?:元|円)"
)
OFFERS = (
    _PRICE,
    r"\d{1,2} ?% ?(?:off\b|discount|rabatt|de (?:réduction|descuento|desconto)|di sconto|korting|скид)|"
    r"\bup to \d{1,2} ?%|\b(?:on|clearance|flash|friday|big|final|season|summer|winter|spring) sale\b|\bsale (?:price|now|!)|"
    r"\b(?:rabatt|soldes?|descuentos?|desconto|sconto|korting|aanbieding|angebot|indirim|promoción|promoção|promocja)\b|"
    r"скидк|распродаж|特価|打折|セール",
    r"\bfree (?:shipping|delivery|returns?)\b|\b(?:kostenlose[rn]? versand|versandkostenfrei|livraison (?:gratuite|"
    r"offerte)|envíos? gratis|frete gr[aá]tis|"
    r"spedizione gratuita|gratis verzending|darmowa dostawa)\b|ücretsiz kargo|бесплатн\p{L}+ доставк|包邮|送料無料",
    r"\b(?:buy|order|shop) (?:now|online|it now|today|cheap|direct)\b|\badd to (?:cart|basket|bag)\b|"
    r"\b(?:jetzt (?:kaufen|bestellen)|online kaufen|acheter|"
    r"achat|comprar|compra online|acquista|kopen|kup teraz|satın al)\b|(?:^|\P{L})(?:купить|заказать)(?:\P{L}|$)|购买|"
    r"購入|通販",
    r"\b(?:best|low(?:est)?|cheap(?:est)?|great|discount(?:ed)?|wholesale|factory|good) prices?\b|\bbilligs?t?\b|"
    r"\bgünstig|\bpas cher\b|\bbarat[oa]s?\b|"
    r"\beconomic[oi]\b|\bgoedkope?\b|\btani\b|\bucuz\b|(?:^|\P{L})(?:недорого|цен[аыуе])(?:\P{L}|$)|便宜|激安|\bcheap\b",
    r"\bin stock\b|\b(?:limited|special|exclusive) offers?\b|\bcoupons?\b|\bpromo codes?\b|\bbuy \d get\b|"
    r"\bmoney[- ]back\b|\bclearance\b",
    r"\bwholesale\b|\bsuppliers?\b|\bmanufacturers?\b|\b(?:drop ?ship\w*|bulk|oem|odm)\b|\bhändler\b|\bfournisseur\b|"
    r"(?:^|\P{L})оптом(?:\P{L}|$)|批发|メーカー",
    r"\bhot ?(?:sale|selling)\b|\bnew arrivals?\b|\btop quality\b|\bhigh quality\b|\b(?:1|2|3|5|10|\d{2,3}) ?(?:pcs|"
    r"pieces)(?:/lot| lot)?\b|\baliexpress\b|\bebay\b|\betsy\b",
)  # fmt: skip


@kernel
def _repetition(hashes: Array, first: Array) -> Array:
    """Return per text: words, words that stood before, count of the most frequent run of three different words."""
    n = len(first) - 1
    out = np.zeros((n, 3), np.int64)
    for t in range(n):
        words = hashes[first[t] : first[t + 1]]
        size = len(words)
        out[t, 0] = size
        if size < 2:
            continue
        ordered = np.sort(words)
        for i in range(1, size):
            if ordered[i] == ordered[i - 1]:
                out[t, 1] += 1
        runs = np.empty(max(size - 2, 0), np.uint64)
        used = 0
        for i in range(size - 2):
            if words[i] != words[i + 1] and words[i + 1] != words[i + 2] and words[i] != words[i + 2]:
                runs[used] = extend(extend(extend(np.uint64(0), words[i]), words[i + 1]), words[i + 2])
                used += 1
        runs = np.sort(runs[:used])
        longest = min(used, 1)
        same = 1
        for i in range(1, used):
            same = same + 1 if runs[i] == runs[i - 1] else 1
            longest = max(longest, same)
        out[t, 2] = longest
    return out


@kernel
def _shape(data: Array, offsets: Array, classes: Array, separators: Array) -> Array:
    """Return per text: words, codes, hashtags, pieces between separators, words in pieces."""
    n = len(offsets) - 1
    out = np.zeros((n, 5), np.int64)
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        letters = 0
        digits = 0
        hashed = False  # the word begins with #
        inside = False
        piece = 0  # words of this piece
        while i <= end:
            if i < end:
                cp, step = decode(data, i, end)
                kind = class_of(classes, cp)
            else:
                cp, step, kind = 32, 1, 4
            cuts = False
            for s in separators:
                if cp == s:
                    cuts = True
            if kind & 4 or cuts:
                if inside and letters + digits:
                    out[t, 0] += 1
                    piece += 1
                    if (letters and digits and not hashed) or digits >= 5:
                        out[t, 1] += 1
                    if hashed and letters:
                        out[t, 2] += 1
                inside = False
                letters = digits = 0
                if (cuts or i == end) and piece:
                    out[t, 3] += 1
                    out[t, 4] += piece
                    piece = 0
            else:
                if not inside:
                    hashed = cp == 35
                    inside = True
                if kind & 1:
                    letters += 1
                elif kind & 2:
                    digits += 1
            i += step
    return out


_SEPARATORS = np.array([ord(c) for c in ",;|•·/»›、,;"], np.int64)


@scorer(
    version=1,
    scores={
        "repetition": pa.float64(),
        "repeated_phrase": pa.int64(),
        "keywords": pa.int64(),
        "hashtags": pa.int64(),
        "codes": pa.float64(),
        "offers": pa.int64(),
    },
    bounds={
        "repetition": (None, 0.5),
        "repeated_phrase": (None, 2),
        "keywords": (None, 9),
        "hashtags": (None, 3),
        "codes": (None, 0.5),
        "offers": (None, 2),
    },
)
def alt_text_spam(batch: pa.RecordBatch, *, min_words: int = 8, max_words: int = 60) -> pa.RecordBatch:
    """Score the captions of `batch`."""
    texts = assistant(batch)
    raw = buffers(texts)
    tokens = assistant_tokens(batch)
    said = _repetition(tokens.hashes, tokens.first)
    shape = _shape(raw.data, raw.offsets, classes(), _SEPARATORS)
    applies = raw.valid & is_task(batch, "caption")
    keywords = np.where(shape[:, 4] <= 3 * shape[:, 3], shape[:, 3], 0)
    where = np.flatnonzero(applies)  # only captions go through the patterns
    captions = texts.take(pa.array(where))
    offers = np.zeros(len(texts), np.int64)
    for pattern in OFFERS:
        offers[where] += np.asarray(pc.match_substring_regex(captions, pattern, ignore_case=True)).astype(np.int64)
    short = applies & (said[:, 0] <= max_words)
    return table(
        repetition=column(ratio(said[:, 1], said[:, 0]), short & (said[:, 0] >= max(min_words, 1)), pa.float64()),
        repeated_phrase=column(said[:, 2], short, pa.int64()),
        keywords=column(np.where(shape[:, 3] > 1, keywords, 0), applies, pa.int64()),
        hashtags=column(shape[:, 2], applies, pa.int64()),
        codes=column(ratio(shape[:, 1], shape[:, 0]), applies & (shape[:, 0] >= 4), pa.float64()),
        offers=column(offers, applies, pa.int64()),
    )
