# ruff: noqa: SIM905
"""English words that the splitter cuts in its own way, or leaves whole: contractions, abbreviations, emoticons.

After the English exceptions of spaCy (https://spacy.io/usage/linguistic-features#special-cases), so that words are the words of
the tools that split with it. `do|n't` is one written word that counts as two.
"""

import functools
import itertools

_WHO = ("who", "what", "when", "where", "why", "how", "there")
_NO_CONTRACTION = "ill its hell shell shed were well whore".split()  # read as words of their own
_WHOLE = (
    # months, states, titles
    "Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. Ak. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. "
    "Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Md. Mich. Minn. Miss. Mo. Mont. Neb. Nebr. Nev. Okla. Ore. Pa. "
    "Tenn. Va. Wash. Wis. D.C. N.C. N.D. N.H. N.J. N.M. N.Y. S.C. Adm. Dr. Gen. Gov. Jr. Messrs. Mr. Mrs. Ms. Mt. "
    "Ph.D. Prof. Rep. Rev. Sen. St. "
    # firms and other abbreviations
    "Bros. Co. co. Corp. Inc. Ltd. a.m. p.m. e.g. E.g. E.G. i.e. I.e. I.E. vs. v.s. w/o and/or C++ <space> ä. ö. ü. "
    # with an apostrophe at the front, in the middle, at the end
    "'Cause 'cause 'Cos 'cos 'Coz 'coz 'Cuz 'cuz 'S 's 'bout 'd 'em 'll 'nuff 're em ll nuff ' '' "
    "ma'am Ma'am o'clock O'clock ‘S ‘s"
).split()
_DROPPED_G = "doin goin nothin nuthin ol somethin lovin havin".split()
_FACES = (
    "8) 8-) 8-D 8D =( =) =/ =3 =D =[ =] =| (= [= ]= (-8 (-; (; ;) ;-) ;-D ;D ;_; xD xDD XD XDD (o: :o) :() :]  "
    ">.< >.> <.< >:( >:o <3 <33 <333 </3 ^_^ ^__^ ^___^ -_- -__- ._. v.v V.V v_v V_V @_@ ><(((*> "
    '(^_^) (-_-) (._.) (>_<) (*_*) (¬_¬) (ಠ_ಠ) ಠ_ಠ ಠ︵ಠ ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ \\") \\n \\t —'
).split()


def _pieces() -> list[str]:
    out: list[str] = []

    def both(word: str, *ends: str) -> None:
        if word not in _NO_CONTRACTION:
            out.extend(w + end for w in (word, word.title()) for end in ends)

    will = ("|'ll", "|ll", "|'ll|'ve", "|ll|ve", "|'d", "|d", "|'d|'ve", "|d|ve")
    both("i", "|'m", "|m", "|'m|a", "|m|a")
    for word in ("i", "you", "he", "she", "it", "we", "they"):
        both(word, *will)
    for word in ("i", "you", "we", "they"):
        both(word, "|'ve", "|ve")
    for word in ("you", "we", "they"):
        both(word, "|'re", "|re")
    for word in ("he", "she", "it", *_WHO, "that", "this"):
        both(word, "|'s", "|s")
    for word in (*_WHO, "that", "this", "these", "those"):
        both(word, *will)
    for word in (*_WHO, "these", "those"):
        both(word, "|'re", "|re", "|'ve", "|ve")
    for word in "ca could do does did had may might must need ought sha should wo would".split():
        both(word, "|n't", "|nt", "|n't|'ve", "|nt|ve")
    for word in "could might must should would".split():
        both(word, "|'ve", "|ve")
    for word in "ai are is was were have has dare".split():
        out.extend(w + end for w in (word, word.title()) for end in ("|n't", "|nt"))
    for word in ("can|not", "gon|na", "got|ta", "let|'s", "c'm|on", "not|'ve", "not|ve", "how|'d|'y"):
        out.extend((word, word[0].upper() + word[1:]))
    out.extend(("y'|all", "y|all"))
    out.extend(f"{hour}|{half}" for hour in range(1, 13) for half in ("a.m.", "am", "p.m.", "pm"))
    out.extend(f"°|{unit}|." for unit in "cfkCFK")
    for word in _DROPPED_G:
        both(word, "", "'")
    out.extend(f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz")
    out.extend(_WHOLE)
    out.extend(_FACES)
    for nose, mouth in itertools.product(
        ("", "-"), (")", "))", ")))", "(", "((", "(((", "]", "}", "/", "|", *"PpOo0*3>XxD")
    ):
        out.append(f":{nose}{mouth}")
    out.extend(f":{nose}{mouth}" for nose in ("'", "'-") for mouth in "()")
    out.extend((":1", "(:", "(-:", "[:", "[-:", "):", ")-:"))
    out.extend(f"{a}{nose}{b}" for nose in "._" for a in "0oO" for b in "0oO" if (a + b != "0O" and a + b != "O0"))
    return out


@functools.cache
def exceptions() -> dict[str, tuple[str, ...]]:
    """Return the pieces of every word that has its own way of being cut."""
    out = {}
    for written in _pieces():
        pieces = tuple(written.split("|")) if len(written) > 2 and not written.startswith((":", "=")) else (written,)
        word = "".join(pieces)
        if word.lower() in _NO_CONTRACTION and len(pieces) > 1:
            continue
        out[word] = pieces
        if "'" in word:
            out[word.replace("'", "’")] = tuple(p.replace("'", "’") for p in pieces)
    return out
