"""Where personal data and secrets stand in texts: candidates by pattern over whole columns, then checksums on the candidates.

Three steps. Literals and a loose pattern without look-around, which polars runs over the whole column, say which texts can hold
a kind at all: most texts end here. The rest are joined, with a NUL between two of them, and the strict pattern runs once over
that; what it finds goes through the kind's own check (Luhn, mod 97, ranges, entropy). A match never crosses a NUL, so a result
does not depend on which texts stand together. No pattern can match `<` or `>`: media marks and placeholders are never part
of a hit.

Kinds, and what the patterns follow (facts, not code, of):
    secret   keys by the prefixes that their issuers document, private key blocks (RFC 7468), JSON web tokens (RFC 7519),
             passwords in URLs (RFC 3986), and assignments (`password = ..`) of values that look random
    email    addr-spec with a dot-atom (RFC 5322, 5321), a host name that ends in letters (RFC 1035); not the reserved
             example names (RFC 2606)
    iban     ISO 13616: country, its length, and mod 97 = 1 (ISO 7064)
    card     14 to 19 digits of a known issuer's range, with a Luhn checksum (ISO/IEC 7812-1)
    ssn      US social security numbers in the form 3-2-4, without areas, groups and serials that are never given out
    ip       public IPv4 and global IPv6 addresses
    ip_local private, loopback, link-local, multicast and documentation addresses (RFC 6890 and 5737, 3849): no personal data
    phone    `+` and 7 to 15 digits (ITU-T E.164); the North American form 3-3-4 with valid area and exchange; 7 to 15 digits
             after a word like `tel`, `phone`, `fax`, `mobile`
Where two hits overlap the kind that stands first here wins. datatrove's formatter does e-mail and public IP, dolma's tagger
e-mail, phone and IP; neither checks card or account numbers. Left out: names, postal addresses, dates of birth, passports,
numbers written in words or in other digits than 0-9.
"""

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.text import Array

KINDS = ("secret", "email", "iban", "card", "ssn", "ip", "ip_local", "phone")


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Hits in order of text and place: bytes `start:stop` of text `text` are of kind `KINDS[kind]`."""

    text: Array
    start: Array
    stop: Array
    kind: Array

    def of(self, kinds: Sequence[str]) -> "Hits":
        """Return the hits of some kinds."""
        keep = np.isin(self.kind, [KINDS.index(k) for k in kinds])
        return Hits(text=self.text[keep], start=self.start[keep], stop=self.stop[keep], kind=self.kind[keep])


# -- strict patterns and their checks ----------------------------------------------------------------------------------

Check = Callable[["re.Match[bytes]"], tuple[int, int] | None]
"""From a match to the bytes that are the hit, or None."""


def _whole(m: "re.Match[bytes]") -> tuple[int, int]:
    return m.span()


def _digits(raw: bytes) -> str:
    return re.sub(rb"[^0-9]", b"", raw).decode()


def luhn(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        n = int(c) * (1 + i % 2)
        total += n - 9 * (n > 9)
    return total % 10 == 0


def issued(digits: str) -> bool:
    """Tell whether a card number begins and is as long as those of Visa, Mastercard, Amex, Discover, JCB, Diners, UnionPay."""
    n, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return n in (16, 19)  # the 13 of old are as long as every barcode (EAN-13), of which a tenth passes
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return n == 16
    if two in (34, 37):
        return n == 15
    if four == 6011 or 644 <= three <= 659 or 3528 <= four <= 3589 or two == 62:
        return 16 <= n <= 19
    return (300 <= three <= 305 or two in (36, 38, 39)) and n == 14


def _card(m: "re.Match[bytes]") -> tuple[int, int] | None:
    digits = _digits(m[0])
    if len(set(re.sub(rb"[0-9]", b"", m[0]))) > 1 or not issued(digits) or not luhn(digits):
        return None
    return m.span()


_IBAN = (
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22"
    "GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30"
    "NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20"
    "YE30"
)
IBAN_LENGTHS = {_IBAN[i : i + 2]: int(_IBAN[i + 2 : i + 4]) for i in range(0, len(_IBAN), 4)}


def iban(text: str) -> bool:
    """Tell whether `text`, without spaces, is as long as its country's accounts are and is 1 modulo 97."""
    if len(text) != IBAN_LENGTHS.get(text[:2], 0):
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _iban(m: "re.Match[bytes]") -> tuple[int, int] | None:
    length = IBAN_LENGTHS.get(m[0][:2].decode())
    if length is None:
        return None
    # The words after an account may look like more of it: the country says where it ends.
    at = [i for i, c in enumerate(m[0]) if c != 32]
    if len(at) < length:
        return None
    stop = at[length - 1] + 1
    if re.match(rb"[A-Z0-9]", m[0][stop:]) or not iban(m[0][:stop].replace(b" ", b"").decode()):
        return None
    return m.start(), m.start() + stop


def _ssn(m: "re.Match[bytes]") -> tuple[int, int] | None:
    area, group, serial = m[0].decode().split("-")
    given = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return m.span() if given and m[0] not in (b"078-05-1120", b"219-09-9999", b"123-45-6789") else None


_LOCAL_V4 = tuple(
    (int.from_bytes(bytes(int(p) for p in net.split(".")), "big"), 32 - bits)
    for net, bits in (
        ("0.0.0.0", 8), ("10.0.0.0", 8), ("100.64.0.0", 10), ("127.0.0.0", 8), ("169.254.0.0", 16), ("172.16.0.0", 12),
        ("192.0.0.0", 24), ("192.0.2.0", 24), ("192.88.99.0", 24), ("192.168.0.0", 16), ("198.18.0.0", 15),
        ("198.51.100.0", 24), ("203.0.113.0", 24), ("224.0.0.0", 3),
    )
)  # fmt: skip


def _local_v4(text: str) -> bool:
    number = int.from_bytes(bytes(int(p) for p in text.split(".")), "big")
    return any(number >> free == net >> free for net, free in _LOCAL_V4)


_VERSION = re.compile(rb"(?i)(?:\bv|ver|version|release|firmware|section|clause|chapter|\xc2\xa7)[.:#\s]{0,3}$")


def _v4(m: "re.Match[bytes]", *, local: bool) -> tuple[int, int] | None:
    parts = m[0].split(b".")
    if any(int(p) > 255 or (len(p) > 1 and p[:1] == b"0") for p in parts) or _local_v4(m[0].decode()) != local:
        return None
    before, after = m.string[max(0, m.start() - 16) : m.start()], m.string[m.end() : m.end() + 16]
    if _VERSION.search(before) or all(len(p) == 1 for p in parts):
        return None  # 1.2.3.4 is a version or a heading far more often than a host
    beside = [*re.findall(rb"([0-9.]+)[ ,]$", before), *re.findall(rb"^[ ,]?-?([0-9.]+)", after)]
    if any(t.count(b".") not in (0, 3) for t in beside if t != b"."):
        return None  # among decimals: the numbers of a drawn path run into each other (`.407 1.247.86.127 1.605`)
    return m.span()


def _v6(m: "re.Match[bytes]", *, local: bool) -> tuple[int, int] | None:
    import ipaddress

    try:
        number = int(ipaddress.IPv6Address(m[0].decode()))
    except ValueError:
        return None
    if m[0].count(b":") < 3 and local:  # `::1`, `a::b`: too short to tell from code
        return None
    # Global unicast is 2000::/3 (RFC 4291); 2001:db8::/32 and 3fff::/20 are for documents (RFC 3849, 9637).
    public = number >> 125 == 1 and number >> 96 != 0x20010DB8 and number >> 108 != 0x3FFF0
    known = number >> 96 == 0x20010DB8 or number >> 108 == 0x3FFF0 or number >> 121 == 0x7E or number >> 118 == 0x3FA
    return m.span() if (known if local else public) else None


_FILES = {
    "bmp", "css", "gif", "gz", "htm", "html", "ico", "jpeg", "jpg", "js", "json", "jsx", "md", "mp4", "pdf", "php", "png", "svg",
    "ts", "tsx", "txt", "webp", "zip",
}  # fmt: skip
_RESERVED = re.compile(rb"(?i)(?:^|\.)(?:example\.(?:com|net|org|edu)|example|test|invalid|localhost)$")


def _email(m: "re.Match[bytes]") -> tuple[int, int] | None:
    local, _, host = m[0].rpartition(b"@")
    if b".." in local or host.rpartition(b".")[2].decode().lower() in _FILES or _RESERVED.search(host):
        return None
    return m.span()


def _phone(m: "re.Match[bytes]") -> tuple[int, int] | None:
    group = m.lastgroup or ""
    for raw in re.split(rb" / | ?, ?| & ", m[group]):  # after a label there may be several: one hit
        digits = _digits(raw)
        if raw.count(b"(") != raw.count(b")") or not 7 <= len(digits) <= 15 or len(set(digits)) < 3:
            return None
    if group == "nanp":
        if digits[-10] in "01" or digits[-7] in "01" or digits[-9:-7] == "11":
            return None
        if digits[-7:-2] == "55501":  # 555-0100 to 555-0199 are kept for fiction
            return None
    if group == "intl" and digits[0] == "0":
        return None
    return m.span(group)


def entropy(raw: bytes) -> float:
    """Return the Shannon entropy of the bytes, in bits per byte."""
    count = np.bincount(np.frombuffer(raw, np.uint8))
    share = count[count > 0] / len(raw)
    return float(-(share * np.log2(share)).sum())


_DUMMY = re.compile(
    rb"(?i)example|sample|dummy|placeholder|change.?me|your|xxxx|\*\*|\.\.\.|test|foo|password|passwd|secret|token|process\.env|environ|getenv|null|none|undefined|1234567|abcdef"
)


def _issued_key(m: "re.Match[bytes]") -> tuple[int, int] | None:
    return None if re.search(rb"(?i)example|xxxx|(.)\1{7}", m[0]) else m.span()


def _assigned(m: "re.Match[bytes]") -> tuple[int, int] | None:
    value = m["value"].rstrip(b".,:;")
    name = re.findall(rb"[A-Za-z0-9_+/=-]*$", m.string[max(0, m.start() - 32) : m.start()])[0]
    if len(value) < 8 or len(name) > 24 or b"public" in name.lower():  # within base64, or meant to be seen
        return None
    if value.startswith((b"/", b"pk_", b"pk.", b"MIIBIjAN")):  # a path, keys that are published (Stripe, Mapbox, RSA)
        return None
    mixed = re.search(rb"[0-9]", value) and re.search(rb"[A-Za-z]", value)
    # Words are 2 to 3 bits a letter at these lengths; random letters and digits, and hex, come near log2 of their number.
    if not mixed or _DUMMY.search(value) or entropy(value) < min(3.0, 0.85 * math.log2(len(value))):
        return None
    if re.fullmatch(rb"[A-Za-z_]+[0-9]{0,4}", value) or re.fullmatch(rb"[A-Za-z_][\w.]*\(.*", value):
        return None  # an identifier or a call
    return m.start("value"), m.start("value") + len(value)


def _sk(m: "re.Match[bytes]") -> tuple[int, int] | None:
    random = re.search(rb"[0-9]", m[0]) and re.search(rb"[A-Z]", m[0]) and entropy(m[0]) > 3.5
    return _issued_key(m) if random else None


def _login(m: "re.Match[bytes]") -> tuple[int, int] | None:
    return (
        None
        if _DUMMY.search(m["login"]) or re.match(rb"(?i)user(name)?:pass|[^:]*:\$|[^:]*:\{", m["login"])
        else m.span("login")
    )


_LABEL = r"(?:telephone|telefax|tel|phone|fax|mobile|whatsapps?|(?:hot|care|help) ?line|hand ?phone|cell ?phone|h/p)"
_LABELLED = _LABEL + r"s?(?: ?(?:no|nr|number|num|#))?[ \t.:=#\-)\]]{0,6}"
_DIALLED = r"\+?\(?[0-9](?:[ .\-/()]{0,2}[0-9]){6,14}"
_ASSIGNED = (
    r"(?:passwd|password|passphrase|pwd|secret|token|api[_\- ]?key|access[_\- ]?key|auth[_\- ]?key|credential)s?"
)
_EDGE = r"(?<![A-Za-z0-9_\x80-\xff-])"
_END = r"(?![A-Za-z0-9_\x80-\xff-])"
_BEGIN_KEY = r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
_V4 = r"(?<![A-Za-z0-9_\x80-\xff.\-])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![A-Za-z0-9_\x80-\xff\-]|\.[0-9])"
_V6 = r"(?<![A-Za-z0-9_\x80-\xff:.])[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![A-Za-z0-9_\x80-\xff:])"
_LOOSE_V4 = r"(?-u)[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"


@dataclass(frozen=True, kw_only=True)
class _Pattern:
    """How one form of a kind is found. `literals` and `loose` are never narrower than `strict`."""

    kind: str
    strict: str
    check: Check
    literals: tuple[str, ...] = ()  # one of them stands in the text, in any case of letters
    loose: str = ""
    gate: str = ""  # of GATES; by default the kind


PATTERNS = (
    _Pattern(
        kind="secret",
        literals=("PRIVATE KEY",),
        strict=_BEGIN_KEY + r"[^\x00<>]{0,16384}?-----END (?:[A-Z0-9]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
        r"|" + _BEGIN_KEY + r"(?:\s{1,4}[A-Za-z0-9+/=]{16,128}){0,256}",
        check=_whole,
    ),
    _Pattern(
        kind="secret",
        literals=(
            "AKIA", "ASIA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "k_live_",
            "k_test_", "AIza", "ya29.", "hf_", "npm_", "pypi-", "SG.", "dop_v1_", ":AA",
        ),
        loose=r"(?-u)(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}|gh[pousr]_[A-Za-z0-9]{9}|github_pat_|glpat-|xox[a-z]-|[sr]k_(?:live|test)_|AIza[A-Za-z0-9_-]{9}"
        r"|ya29\.|hf_[A-Za-z0-9]{9}|npm_[A-Za-z0-9]{9}|pypi-AgE|SG\.[A-Za-z0-9_-]{9}|dop_v1_|[0-9]:AA[A-Za-z0-9_-]{9}",
        strict=_EDGE + r"(?:(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{60,120}"
        r"|glpat-[A-Za-z0-9_\-]{20,64}"
        r"|xox[abeoprs]-[A-Za-z0-9\-]{16,200}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,200}|AIza[A-Za-z0-9_\-]{35}|ya29\.[A-Za-z0-9_\-]{40,400}"
        r"|hf_[A-Za-z0-9]{34}|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_\-]{50,400}|SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}|dop_v1_[a-f0-9]{64}"
        r"|[0-9]{8,10}:AA[A-Za-z0-9_\-]{33})" + _END,
        check=_issued_key,
    ),
    _Pattern(
        kind="secret",
        literals=("sk-",),
        loose=r"(?-u)sk-[A-Za-z0-9_-]{20}",
        strict=_EDGE + r"sk-[A-Za-z0-9_\-]{20,200}" + _END,
        check=_sk,
    ),
    _Pattern(
        kind="secret",
        literals=(".eyJ",),
        strict=_EDGE + r"eyJ[A-Za-z0-9_\-]{8,2048}\.eyJ[A-Za-z0-9_\-]{8,4096}\.[A-Za-z0-9_\-]{8,2048}" + _END,
        check=_whole,
    ),
    _Pattern(
        kind="secret",
        literals=("hooks.slack.com/services/",),
        strict=r"hooks\.slack\.com/services/T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{16,40}" + _END,
        check=_issued_key,
    ),
    _Pattern(
        kind="secret",
        literals=("://",),
        loose=r"(?-u)://[!-~]{1,64}:[!-~]{3,128}@",
        strict=r"(?<![A-Za-z0-9])[a-z][a-z0-9+.\-]{1,15}://(?P<login>[A-Za-z0-9!$&*+,;=._~%\-]{1,64}:[A-Za-z0-9!$&*+,;=._~%\-]{3,128})@",
        check=_login,
    ),
    _Pattern(
        kind="secret",
        literals=("passw", "passphrase", "pwd", "secret", "token", "key", "credential"),
        loose=r"(?i-u)" + _ASSIGNED + r"[a-z0-9_-]{0,12}[\"']?[ \t]{0,3}(?::=|=>|=|:)",
        strict=r"(?i)" + _ASSIGNED + r"[a-z0-9_\-]{0,12}[\"']?[ \t]{0,3}(?::=|=>|=|:)[ \t]{0,3}[\"'`]?"
        r"(?P<value>[^\s\"'`<>{}()\[\]$,;&\\\x00]{8,256})",
        check=_assigned,
    ),
    _Pattern(
        kind="email",
        loose=r"(?-u)[A-Za-z0-9_+-]@[A-Za-z0-9-]{1,63}\.[A-Za-z0-9]",
        strict=r"(?<![A-Za-z0-9._%+'\-\x80-\xff@/])[A-Za-z0-9_](?:[A-Za-z0-9._%+'\-]{0,62}[A-Za-z0-9_+\-])?@"
        r"(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9\-@\x80-\xff]|\.[A-Za-z0-9])",
        check=_email,
    ),
    _Pattern(
        kind="iban",
        strict=r"(?<![A-Za-z0-9\x80-\xff])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}",
        check=_iban,
    ),
    _Pattern(
        kind="card",
        loose=r"(?-u)[0-9]{14}|[0-9]{4}[ -](?:[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}|[0-9]{6}[ -][0-9]{4})",
        strict=r"(?<![A-Za-z0-9_\x80-\xff=/.\-])(?<![0-9] )"
        r"(?:[0-9]{14,19}|[0-9]{4}(?:[ \-][0-9]{4}){3}(?:[ \-][0-9]{1,3})?|[0-9]{4}[ \-][0-9]{6}[ \-][0-9]{4,5})"
        r"(?![A-Za-z0-9_\x80-\xff=/\-]|[.,][0-9]| [0-9])",
        check=_card,
        gate="number",
    ),
    _Pattern(
        kind="ssn",
        loose=r"(?-u)[0-9]{3}-[0-9]{2}-[0-9]{4}",
        strict=_EDGE + r"[0-9]{3}-[0-9]{2}-[0-9]{4}" + _END,
        check=_ssn,
        gate="number",
    ),
    _Pattern(kind="ip", loose=_LOOSE_V4, strict=_V4, check=functools.partial(_v4, local=False), gate="number"),
    _Pattern(kind="ip", gate="colons", strict=_V6, check=functools.partial(_v6, local=False)),
    _Pattern(kind="ip_local", loose=_LOOSE_V4, strict=_V4, check=functools.partial(_v4, local=True), gate="number"),
    _Pattern(kind="ip_local", gate="colons", strict=_V6, check=functools.partial(_v6, local=True)),
    _Pattern(
        kind="phone",
        literals=("tel", "phone", "fax", "mobile", "whatsapp", "line", "h/p"),
        loose=r"(?i-u)" + _LABELLED + r"\+?\(?[0-9](?:[ .\-/()]{0,2}[0-9]){6}",
        strict=r"(?i)(?<![a-z\-/.])" + _LABELLED + r"(?P<labelled>" + _DIALLED + r"(?:(?: / | ?, ?| & )" + _DIALLED + r"){0,2})"
        r"(?![0-9A-Za-z\x80-\xff]|[.,][0-9])",
        check=_phone,
        gate="number",
    ),
    _Pattern(
        kind="phone",
        loose=r"(?-u)\+\(?[1-9](?:[ .\-()]{0,2}[0-9]){6}",
        strict=r"(?<![0-9A-Za-z_\x80-\xff+=/\-^*)\]}])(?<![0-9] )(?P<intl>\+\(?[1-9](?:[ .\-()]{0,2}[0-9]){6,14})"
        r"(?![0-9A-Za-z\x80-\xff]|[.,%=][0-9]| ?[=+*/^])",
        check=_phone,
        gate="number",
    ),
    _Pattern(
        kind="phone",
        loose=r"(?-u)[0-9]{3}(?:\) ?|[ .-])[0-9]{3}[.-][0-9]{4}",
        strict=r"(?<![0-9A-Za-z_\x80-\xff+=/.\-(])(?P<nanp>(?:1[ .\-])?(?:\([0-9]{3}\) ?|[0-9]{3}[ .\-])[0-9]{3}[.\-][0-9]{4})"
        r"(?![0-9A-Za-z\x80-\xff\-/]|[.,][0-9])",
        check=_phone,
        gate="number",
    ),
)  # fmt: skip


# -- over a column -----------------------------------------------------------------------------------------------------


_KEYS = tuple(word for p in PATTERNS if p.kind == "secret" for word in p.literals)
# What is asked of every text, all in one go; a pattern looks only at those that pass its gate.
GATES = {
    "secret": pl.col("text").str.contains_any(list(_KEYS), ascii_case_insensitive=True),
    "email": pl.col("text").str.contains("@", literal=True),
    "iban": pl.col("text").str.contains(r"(?-u)[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11}"),
    "number": pl.col("text").str.contains(r"(?-u)[0-9](?:[ .()/-]{0,2}[0-9]){4}"),
    "colons": pl.col("text").str.contains(r"(?-u)[0-9A-Fa-f]::|(?:[0-9A-Fa-f]{1,4}:){7}"),  # eight groups, or a gap
}


def find(texts: pa.Array) -> Hits:
    """Return every hit in string texts; nulls hold none."""
    column = pl.Series("text", pl.from_arrow(texts.cast(pa.large_string())), dtype=pl.String).fill_null("")
    passed = pl.DataFrame({"text": column}).select(**GATES)
    rows: list[Array] = []
    for gate in GATES:
        within = np.flatnonzero(passed[gate].to_numpy())
        if not len(within):
            continue
        mine = [p for p in PATTERNS if (p.gate or p.kind) == gate]
        held = pl.DataFrame({"text": column.gather(within)}).select(
            *(_holds(pattern).alias(str(k)) for k, pattern in enumerate(mine))
        )
        for k, pattern in enumerate(mine):
            chosen = within[held[str(k)].to_numpy()]
            if len(chosen):
                rows.append(_search(column, chosen, pattern))
    if not rows:
        nothing = np.zeros(0, np.int64)
        return Hits(text=nothing, start=nothing, stop=nothing, kind=nothing)
    return _settle(np.concatenate(rows))


def _holds(pattern: _Pattern) -> pl.Expr:
    """Return whether a text holds a literal of `pattern` and a match of its loose form."""
    text = pl.col("text")
    asked = text.is_not_null()
    if pattern.literals:
        asked = asked & text.str.contains_any(list(pattern.literals), ascii_case_insensitive=True)
    return asked & text.str.contains(pattern.loose) if pattern.loose else asked


@functools.cache
def _compiled(strict: str) -> "re.Pattern[bytes]":
    return re.compile(strict.encode("latin-1"))


def _search(column: pl.Series, chosen: Array, pattern: _Pattern) -> Array:
    """Return (text, start, stop, kind) of the checked matches in the texts `chosen`, searched in one go."""
    picked = column.gather(chosen)
    joined = picked.str.join("\0").item().encode()
    size = picked.str.len_bytes().to_numpy().astype(np.int64) + 1
    begin = np.concatenate([np.zeros(1, np.int64), np.cumsum(size)])
    found = [span for m in _compiled(pattern.strict).finditer(joined) if (span := pattern.check(m)) is not None]
    if not found:
        return np.zeros((0, 4), np.int64)
    spans = np.asarray(found, np.int64)
    at = np.searchsorted(begin, spans[:, 0], "right") - 1
    return np.column_stack([chosen[at], spans - begin[at][:, None], np.full(len(spans), KINDS.index(pattern.kind))])


def _settle(rows: Array) -> Hits:
    """Return the hits without overlaps: the kind that stands first in KINDS wins, then the one that begins first."""
    order = np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 3], rows[:, 0]))
    taken: list[list[int]] = []
    spans: list[tuple[int, int]] = []
    last = -1
    for row in rows[order].tolist():
        text, start, stop, _ = row
        if text != last:
            last, spans = text, []
        if all(stop <= a or start >= b for a, b in spans):
            spans.append((start, stop))
            taken.append(row)
    out = np.asarray(taken, np.int64).reshape(-1, 4)
    out = out[np.lexsort((out[:, 1], out[:, 0]))]
    return Hits(text=out[:, 0], start=out[:, 1], stop=out[:, 2], kind=out[:, 3])


def placeholder(kind: str) -> str:
    """Return what stands in place of a hit: `<EMAIL>`. Media marks are lower-case and other words; no pattern matches it."""
    return f"<{kind.upper()}>"


def mask(texts: pa.Array, kinds: Sequence[str]) -> tuple[pa.Array, Array]:
    """Return the texts with every hit of `kinds` replaced by its placeholder, and (text, kind) of every replacement.

    It is done again until nothing is found: a hit may hide another (`a@b.com+49 30 901820`). So what comes out holds no hit, and
    masking it once more changes nothing.
    """
    out = texts.cast(pa.large_string())
    log: list[Array] = []
    which = np.arange(len(out))
    while len(which):
        part = out.take(pa.array(which))
        hits = find(part).of(kinds)
        if not len(hits.text):
            break
        touched, first = np.unique(hits.text, return_index=True)
        edges = [*first.tolist(), len(hits.text)]
        strings = part.take(pa.array(touched)).to_pylist()
        for k, text in enumerate(strings):
            raw, pieces, at = text.encode(), [], 0
            for h in range(edges[k], edges[k + 1]):
                pieces += [raw[at : hits.start[h]], placeholder(KINDS[hits.kind[h]]).encode()]
                at = int(hits.stop[h])
            strings[k] = b"".join([*pieces, raw[at:]]).decode()
        log.append(np.column_stack([which[hits.text], hits.kind]))
        which = which[touched]
        changed = np.zeros(len(out), bool)
        changed[which] = True
        out = pc.replace_with_mask(out, pa.array(changed), pa.array(strings, pa.large_string()))
    return out, np.concatenate([np.zeros((0, 2), np.int64), *log])
