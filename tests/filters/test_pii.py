import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from filters.shared import pii
from tests.filters.text_samples import HOSTILE, PROSE, answers, batch, sample

f = load("pii")
DATA = Path(__file__).parents[3] / "shared" / "data"


def hits(*texts):
    found = pii.find(pa.array(texts, pa.string()))
    out = []
    for t, a, b, k in zip(found.text, found.start, found.stop, found.kind, strict=True):
        out.append((pii.KINDS[k], texts[t].encode()[a:b].decode()))
    return out


def kinds(text):
    return [k for k, _ in hits(text)]


def check_digit(digits):
    return next(d for d in "0123456789" if pii.luhn(digits + d))


FOUND = [
    ("email", "write to Jane.Doe+news@mail.uni-x.ac.uk.", "Jane.Doe+news@mail.uni-x.ac.uk"),
    ("email", "<a href='mailto:info@cuvee.org'>", "info@cuvee.org"),
    ("email", "приветinfo@mail.ru", None),
    ("email", "see logo@2x.png", None),
    ("email", "someone@example.com, root@localhost, a@b, @user, a@b..c", None),
    ("email", "npm i pkg@1.2.3", None),
    ("phone", "TEL: 03-5882 5532", "03-5882 5532"),
    ("phone", "Tel : 07-3557474.", "07-3557474"),
    ("phone", "TEL : 07-5547360 / 016-7993391 FAX", "07-5547360 / 016-7993391"),
    ("phone", "H/P: 012-659 9829.", "012-659 9829"),
    ("phone", "call +49 (0)40 890 85-433 now", "+49 (0)40 890 85-433"),
    ("phone", "(212) 684-4700", "(212) 684-4700"),
    ("phone", "1-800-222-1222", "1-800-222-1222"),
    ("phone", "5 + 1234567 = 1234572 and 3+12345678", None),
    ("phone", "200-300-40000 and 123-456-7890 and (911) 411-1234", None),  # areas begin at 2 and are not x11
    ("phone", "212-555-0123", None),
    ("phone", "10.1016/j.cell.2017.10.049", None),
    ("phone", "2019-11-22 12:30, 1000 2000 3000, 12,345,678", None),
    ("phone", "+1234567890123456", None),  # 16 digits
    ("phone", "the hotel 1234567 has", None),
    ("card", "pay with 4111 1111 1111 1111.", "4111 1111 1111 1111"),
    ("card", "378282246310005", "378282246310005"),
    ("card", "3782-822463-10005", "3782-822463-10005"),
    ("card", "4111 1111 1111 1112", None),
    ("card", "4971850134824", None),  # EAN-13
    ("card", "9111111111111111 and 0000000000000000", None),
    ("card", "img/4111111111111111.jpg?id=4111111111111111", None),
    ("iban", "IBAN GB82 WEST 1234 5698 7654 32 AND MORE", "GB82 WEST 1234 5698 7654 32"),
    ("iban", "DE89370400440532013000", "DE89370400440532013000"),
    ("iban", "DE89370400440532013001, DE8937040044053201300, XX89370400440532013000", None),
    ("ssn", "SSN 536-90-4399.", "536-90-4399"),
    ("ssn", "000-12-3456 666-12-3456 900-12-3456 536-00-4399 536-90-0000 078-05-1120", None),
    ("ip", "host 8.8.4.4 and 35.247.6.38:80", "35.247.6.38"),  # 8.8.4.4 reads like a version
    ("ip", "-.87 2.08 1.22.89 2.41 1.02 2.57.12.17 1.75 2.68", None),  # a path in SVG
    ("ip", "from 35.247.6.38, 144.76.166.14", "35.247.6.38"),
    ("secret", "stripePublicToken: pk_live_2O6zPMHXNs2AGea4bAmq5R7Z token=/a1/B2c3/d4E5", None),
    ("ip", "2600:1f18:4266:b0ff::7", "2600:1f18:4266:b0ff::7"),
    ("ip", "std::vector a::b 12:30:45 1.2.3.4 v12.0.3.4 256.10.10.10 1.2.3.40.5 version 10.20.30.40", None),
    ("ip_local", "ping 192.168.0.1 or 203.0.113.77", "192.168.0.1"),
    ("ip_local", "2001:db8:1::1", "2001:db8:1::1"),
    ("secret", "key AKIAQYLPMN5HHHFPZAM2 here", "AKIAQYLPMN5HHHFPZAM2"),
    ("secret", "AKIAIOSFODNN7EXAMPLE", None),
    ("secret", "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8", "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"),
    ("secret", "postgres://app:hunter7x@db.internal.net/x", "app:hunter7x"),
    ("secret", "https://user:pass@host.net", None),
    ("secret", 'password = "tG7#kq92Lw"', "tG7#kq92Lw"),
    ("secret", "api_key: 9f86d081884c7d659a2feaa0c55ad015,", "9f86d081884c7d659a2feaa0c55ad015"),
    ("secret", "password = os.environ['X']; token = get_token(); secret: undefined; pwd=changeme123", None),
    ("secret", "the secret: practice every day; token = tokenizer_v2; key=value", None),
    ("secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----!",
     "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"),
    ("secret", "-----BEGIN PRIVATE KEY-----\n" + "Ab3+" * 16 + "\ncut off", "-----BEGIN PRIVATE KEY-----\n" + "Ab3+" * 16),
    ("secret", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.Uw8riFJwARLjeE35ff",
     "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.Uw8riFJwARLjeE35ff"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "want"), FOUND, ids=[f"{k}:{t[:24]!r}" for k, t, _ in FOUND])
def test_by_hand(kind, text, want):
    mine = [t for k, t in hits(text) if k == kind]
    assert mine[:1] == ([] if want is None else [want])


def test_counts_over_all_messages_and_nulls():
    asked = sample("Ask a@cuvee.org or b@cuvee.org.", question="I am c@cuvee.org, +49 40 8908 5433")
    silent = {**sample("x"), "messages": []}
    scores = f.score(batch(asked, silent, sample(PROSE))).to_pydict()
    assert scores["email"] == [3, None, 0]
    assert scores["phone"] == [1, None, 0]
    assert scores["pii"] == [4, None, 0]
    assert scores["secret"] == [0, None, 0]


def test_secrets_and_local_addresses_are_not_personal():
    scores = f.score(answers("192.168.0.1 AKIAQYLPMN5HHHFPZAM2")).to_pydict()
    assert (scores["ip_local"], scores["secret"], scores["pii"]) == ([1], [1], [0])


def test_only_secrets_have_a_bound():
    assert f.bounds == {"secret": (None, 0)}


def test_the_stronger_kind_wins_an_overlap():
    assert hits("redis://me:x9y8z7w6@mail.cuvee.org") == [("secret", "me:x9y8z7w6")]
    assert kinds("phone: 4111 1111 1111 1111") == ["card"]


def test_a_hit_does_not_depend_on_its_neighbours():
    texts = ["tel 03-5882", " 5532 11", "4111 1111", " 1111 1111", "a@cuvee.", "org", "+49 40 8908 5433", ""]
    assert [h for t in texts for h in hits(t)] == hits(*texts)
    assert hits(*texts) == [("phone", "+49 40 8908 5433")]


def test_hostile_texts_are_quick_and_stay_themselves():
    flood = ("9" * 100_000, "a@" * 50_000, "1.1." * 50_000, "+1 " * 50_000, "sk-" * 40_000, "A1" * 50_000, ":" * 100_000,
             "password=" * 20_000, "://a:" * 30_000, "-----BEGIN PRIVATE KEY-----" * 3000, "eyJ." * 30_000, "1-" * 60_000,
             "tel " * 50_000 + "1")  # fmt: skip
    texts = pa.array([*HOSTILE, *flood])
    masked, log = pii.mask(texts, pii.KINDS)
    again, more = pii.mask(masked, pii.KINDS)
    assert again.equals(masked)
    assert len(more) == 0
    assert masked.take(pa.array([i for i in range(len(texts)) if i not in set(log[:, 0])])).null_count == 0


issuers = st.sampled_from(["4", "51", "55", "2221", "2720", "34", "37", "6011", "65", "3528", "62"])


@given(issuers, st.text("0123456789", min_size=18, max_size=18))
@settings(max_examples=60, deadline=None)
def test_a_card_with_a_right_checksum_is_found_and_one_with_a_wrong_digit_is_not(prefix, rest):
    size = 15 if prefix in ("34", "37") else 16
    body = (prefix + rest)[: size - 1]
    right = check_digit(body)
    assert ("card", body + right) in hits(f"card {body + right} ok")
    wrong = str((int(right) + 1) % 10)
    assert "card" not in kinds(f"card {body + wrong} ok")


@given(st.sampled_from(["DE", "FR", "NL", "GB", "NO"]), st.text("0123456789", min_size=26, max_size=26), st.booleans())
@settings(max_examples=60, deadline=None)
def test_an_account_with_a_right_checksum_is_found_and_one_with_a_wrong_digit_is_not(country, rest, spaced):
    size = pii.IBAN_LENGTHS[country]
    body = rest[: size - 4]
    check = 98 - int("".join(str(int(c, 36)) for c in body + country + "00")) % 97
    right, wrong = (f"{country}{n:02d}{body}" for n in (check, (check + 1) % 97))

    def shown(text):
        return " ".join(text[i : i + 4] for i in range(0, len(text), 4)) if spaced else text

    assert ("iban", shown(right)) in hits(f"to {shown(right)}.")
    assert "iban" not in kinds(f"to {shown(wrong)}.")


PIECES = [t for _, t, _ in FOUND] + [
    "+49 40 8908 5433",
    "a@cuvee.org",
    " ",
    "\n",
    "",
    "é",
    "<image>",
    "x",
    "-",
    "1",
    ":",
    "@",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.sets(st.sampled_from(pii.KINDS), min_size=1))
@settings(max_examples=150, deadline=None)
def test_masking_twice_changes_nothing_more_and_nothing_else_changes(text, chosen):
    chosen = sorted(chosen)
    masked, log = pii.mask(pa.array([text]), chosen)
    new = masked[0].as_py()
    assert pii.mask(masked, chosen)[0].equals(masked)
    assert not set(kinds(new)) & set(chosen)
    assert new.count("<image>") == text.count("<image>")
    assert Counter(pii.KINDS[k] for k in log[:, 1].tolist()) == Counter(
        {k: n for k in pii.KINDS if (n := new.count(pii.placeholder(k)))}
    )
    # What stands between placeholders stood in the text, in this order.
    at = 0
    for piece in pa.compute.split_pattern_regex(masked, "<[A-Z_]+>")[0].as_py():
        at = text.index(piece, at) + len(piece)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_goes_through(text):
    masked, _ = pii.mask(pa.array([text, None]), pii.KINDS)
    assert masked[1].as_py() is None
    if not hits(text):
        assert masked[0].as_py() == text


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data")
def test_sums_are_no_numbers_to_call_and_receipts_have_some():
    def lines(path):
        return [json.loads(line) for line in path.open(encoding="utf-8")][:2000]

    sums = [r["question"] + "\n" + r["answer"] for r in lines(DATA / "gsm8k" / "train.jsonl")]
    assert hits(*sums) == []
    receipts = ["\n".join(b["text"] for b in r["lines"]) for r in lines(DATA / "sroie_receipts" / "records.jsonl")]
    assert set(Counter(k for k, _ in hits(*receipts))) == {"phone", "email"}
