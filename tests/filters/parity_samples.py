# ruff: noqa: E501
"""Texts on which Cuvee and datatrove must agree; what datatrove makes of them stands in `parity.json`.

`python benchmarks/text_parity.py --golden tests/filters/parity.json` writes that file again.
"""

import math

from tests.filters.text_samples import HOSTILE, PROSE

REASONS = {
    "gopher_quality": {
        "words": ("gopher_short_doc", "gopher_long_doc"),
        "mean_word_length": ("gopher_below_avg_threshold", "gopher_above_avg_threshold"),
        "symbol_ratio": ("gopher_too_many_hashes", "gopher_too_many_ellipsis"),
        "bullet_lines": ("gopher_too_many_bullets",),
        "ellipsis_lines": ("gopher_too_many_end_ellipsis",),
        "alpha_words": ("gopher_below_alpha_threshold",),
        "stop_words": ("gopher_enough_stop_words",),
    },
    "gopher_repetition": {
        "characters": ("empty",),
        "duplicate_paragraphs": ("dup_para_frac",),
        "duplicate_paragraph_characters": ("dup_para_char_frac",),
        "duplicate_lines": ("dup_line_frac",),
        "duplicate_line_characters": ("dup_line_char_frac",),
        **{f"top_{n}_gram": (f"top_{n}_gram",) for n in (2, 3, 4)},
        **{f"duplicate_{n}_gram": (f"duplicated_{n}_n_grams",) for n in range(5, 11)},
    },
    "c4": {
        "lorem_ipsum": ("lorem_ipsum", "curly_bracket"),  # whichever line comes first
        "curly_bracket": ("curly_bracket",),
        "sentences": ("too_few_sentences",),
    },
    "fineweb": {
        "lines": ("empty",),
        "closed_lines": ("line_punct_ratio",),
        "short_lines": ("short_line_ratio",),
        "duplicate_line_characters": ("char_dup_ratio",),
        "newlines_per_word": ("list_ratio",),
    },
}
"""What datatrove calls it when a score is out of its bounds, in the order in which it looks."""

PUBLISHED = {
    "c4": {"min_words": 0},
    "gopher_quality": {"min_words": 0, "exceptions": False},
    "gopher_repetition": {"min_words": 0, "exceptions": False},
    "fineweb": {"min_words": 0},
}
"""The parameters with which a filter judges as published: every text, without our exceptions."""


def broken(bounds, scores):
    """Return the scores that are out of their bounds, in the order of `bounds`; NaN is out, None is in."""
    out = []
    for name, (low, high) in bounds.items():
        value = scores[name]
        if value is not None and (
            math.isnan(value) or (low is not None and value < low) or (high is not None and value > high)
        ):
            out.append(name)
    return out


_LINE = (
    "The ferry that leaves from the north pier has to wait for the tide, and people with bicycles go on board first."
)
_PAGE = "\n".join(
    f"{a} of the {b} were kept in the {c} with the maps that have since been lost."
    for a, b, c in (
        ("Most", "letters", "cellar"),
        ("Some", "ledgers", "attic"),
        ("None", "drawings", "vault"),
        ("Three", "prints", "hall"),
        ("Two", "diaries", "barn"),
        ("Parts", "globes", "yard"),
    )
)

TEXTS = (
    "", " ", "\n", "\n\n \n", "a", "One.", "Yes, it is.", "Tea at 5pm.", PROSE, _PAGE, _LINE,
    # words: contractions, abbreviations, units, money, hyphens, addresses, faces, quotes
    "Don't you think it's what they'd've done? We'll see; I'm sure y'all can't've gone. Let's go, c'mon!",
    "cannot gonna gotta dont cant hes its thats ill well wont im ive whos Id Ill Ive Its Were wasnt aint",
    "John's cats' dogs’ the boss's O'Neill rock'n'roll 'tis 'em 'cause o'clock ma'am goin' goin’ don’t it’s we’ve 'S 's ‘s",
    "Mr. Smith and Dr. Jones met Mrs. Lee in St. Louis, Mo., on Jan. 5, at 9 a.m., e.g. for Ph.D. work, i.e. to talk vs. Inc. U.S. U.S.A. A. B. Q.",
    "Mr.Smith (Dr.) etc.. etc... wait…what…… no.Yes no.yes word.Word WORD.Word a.B 3.14 1,000.50 v1.2.3 .5 5. x. X. AB. A.B.",
    "5km 10km/h 3kg. 20% 100m² 5°C. 30°F 7mm, 12MB 4GB/s 9in 6ft 2lb 1T 8K 5G 16:9 3+4 3*4 2^10 2-3 2--3 2+ +5 +a $5 5$ €10 10€ US$20 20US$ C$3 A$4 £7.50 ¥900 5£",
    "well-known state-of-the-art pre–war a—b a--b a---b a----b -a a- - -- — – x-1 1-x 3-D mother-in-law's e-mail re-use/redo and/or w/o he/she 1/2 a:b a:1 1:a key=value a<b a>b <b> a~b ~a",
    "Visit https://www.example.org/a-b?c=d&e=f#g, www.example.com or example.co.uk/path-to/x; mail jane.doe+x@example.org (ftp://user:pw@host.net:21/y) 192.168.0.1 8.8.8.8 8.8.8.8/a-b foo.bar-baz user@host a.b.c-d.e http://a-b http://a.b/c:d=e",
    ":) :-) ;-) :D XD <3 </3 ^_^ -_- o_O :( :'( :/ hello:) hello :-( (: text):text :p:p ):( 8) >:( =D xD. (-_-) ¯\\(ツ)/¯ @_@ :-)) ;) :* :3 :'-)",
    "\"Quoted,\" she said; 'single' “curly” ‘inner’ «guillemets» „low“ (paren) [bracket] {brace} <angle> ((double)) \"'nested'\" `code` ``x'' !?!? ?! ... .. . … !! #hash @name a&b A&B R&D * bullet *bold* _under_ snake_case __init__ a_b ~ | \\ / ^ % =",
    "C++ C# F# .NET node.js 3D 4x4 x2 2x B2B A1 1st 2nd 3rd 1990s '90s 90's 10:30 10:30am 12pm 11a.m. 7p.m. 1am. 5-6pm ½ ² x² 10³ #1 №5 ©2020 ® ™ ° § ¶ • · → ✓ ★ 😀 👍🏽 👩‍👩‍👧‍👦 a😀b 😀😀",
    "Über straße naïve café ÉCOLE Łódź ŽIVOT привет-мир Москва. ΑΒΓ-δεζ ελληνικά. שלום-עולם مرحبا، بالعالم؟ हिन्दी। 你好，世界。日本語。한국어 ภาษาไทย é.É ß.A 5 км 5км 10кг. İstanbul ǅ ﬁne Ⅷ ① ٣ ①a",
    "a\u00a0b\u00a0\u00a0c\td \u2003e\u200bf\ufeffg\u00adh\u2028i\u2029j\x0bk\x0cl\x1cm\x85n\r\no\rp\x00q \x01 \x7f r\u0301s \ud7ff \ufffd",
    "<space> \\n \\t \\\") '' \"\" '\" ''' ,, ,. ;; :: ..., ,... ?... ...? (...) [...] -- - ' \" ` ´ ’ ’’ ’s 's's s' $ $$ $a a$ US$ °C. °c °F. 5°K.",
    "$\\frac{a}{b}$ $x^2+y^2=z^2$ \\begin{align}a&=b\\\\c&=d\\end{align} f(x)=2x+1 |x|<3 x_{i,j} O(n^2) a=b=c 1+1=2 (a+b)-(c-d) 3-4i e^{i\\pi}+1=0",
    "def f(x): return x+1 # comment\nfor i in range(10):\n    print(f\"{i}: {f(i)}\")\nif __name__ == '__main__': main()",
    "<html><body class=\"a-b\"><p>Text, text.</p><br/><a href='http://x.org/y-z'>link</a></body></html> &nbsp;&amp; <!-- c -->",
    # C4
    _PAGE + "\nshort line.\nno end here at all\nThis one trails off in the end...\nWe speak Javascript here, and nothing else.\nThis site uses cookies. Read our privacy policy.",
    _PAGE + "\nLorem ipsum dolor sit amet, they say.", _PAGE + "\nA brace { stands here.", _PAGE + "\nA brace { in a line without an end",
    _PAGE.replace("kept", "kept[1]").replace("lost.", "lost.[12]"), _PAGE.replace("lost.", "lost[edit]."), _PAGE.replace("lost", "lost[citation needed]").replace("were", "[]were"),
    _PAGE + "\n" + "x" * 1001 + " is a long word.", _PAGE + "\n" + "x" * 1000 + " is a long word.", "One two three. Four five six! Seven eight nine? \"Ten eleven twelve.\" Thirteen fourteen fifteen.  Sixteen.",
    "He said hi.  . And left.\tThen (came) back.) \"So it goes.\" 'Yes.' No?! Well... Fine. e.g. this one. 3.5 is not two. Who? \u3000Me.",
    "[1] . Foo bar baz.  [2]\n  [3]  One more line here. [4]\nA line with a [9] mark. And an end. ' \nTerms Of Use apply here.\nCoo\u212aies, says the use coo\u212aies sign.\nJAVASCR\u0130PT is not it.",
    "A page {with a brace. And it ends.\nJavaScript {comes first here.\nUse cookies {comes last here.",
    # Gopher
    " ".join(["word"] * 49), " ".join(["the word of"] * 30), "\n".join("• " + _LINE for _ in range(3)), "\n".join(f"- item {i} of the list that we have to pack" for i in range(9)),
    "\n".join(f"The list of item {i} that we have to pack goes on..." for i in range(9)), "\n".join(f"The list of item {i} that we have to pack goes on…  " for i in range(9)),
    PROSE.replace(" ", " # "), PROSE.replace(" ", " ... ", 40), " ".join(f"{i} {i * 7}" for i in range(60)), PROSE.replace("e", "eeeeeeeeeeeeee"), "a b c " * 40,
    "Katten ligger under bordet fordi det regner ute i dag, sier Kari, mens Ola henter ved. " * 4, PROSE.upper(), PROSE + "\n" + PROSE, PROSE + "\n\n" + _LINE + "\n\n" + PROSE,
    "\n\n".join([_LINE] * 3 + [PROSE]), "\n".join([_LINE] * 2 + [PROSE] * 2), "\n" + PROSE + "\n", "the end of the day the end of the night the end of the year the end of it all",
    "ab c d e f g abc d e f g a bc d e f g h i j k l m n o p", "one two three four five six seven eight nine ten " * 6, "x y z. " * 30, "hello hello", "a b", "ab", "No. No. No.",
    # FineWeb
    "\n".join(["No end", "to any line", "of this list"] * 5), "\n".join(f"Short line {i}." for i in range(20)), "\n".join([_LINE, _LINE + " ", PROSE]), "a\nb\nc\n\n\nd.", _LINE + "\r\n" + PROSE + "\r\n",
    "\n".join(f"Entry {i} is about thirty." + "x" * (i % 9) for i in range(12)), _LINE.replace(".", "。") + "\n" + _LINE.replace(".", "؟"), "Only\n\n\n\n\n\n\n\n\nnewlines.",
    *(t for t in HOSTILE if len(t) < 3000 and t != "<image>"),  # a mark is no text
)  # fmt: skip
