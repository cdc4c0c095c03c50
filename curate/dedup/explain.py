"""Pairs of a dropped sample and the one that stays for it, side by side: what differs in their texts, and their pictures."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from catalog.errors import UserError, nearest
from catalog.judge import Rule
from catalog.ledger import Ledger
from catalog.shards import MediaReader
from catalog.store import DatasetVersion, Store
from curate.report import thumbnail
from curate.why import digests_of, find_sample, text

TEXT = 4000  # characters of each text that are compared
_WORD = re.compile(r"\s+|\w+|[^\w\s]")
_ORDERS = ("doubtful", "sure", "large")


def stages(dataset: DatasetVersion, ledger: Ledger) -> list[dict[str, Any]]:
    """Return per deduplicating stage {stage, prefer, clusters, members, dropped, largest, least}: `least` is the lowest
    similarity of a dropped sample, null where none was."""
    out = []
    for rule in [r for r in ledger.rules if r.cluster]:
        found = ledger.clusters(rule)
        losers = found.filter(pl.col("rank") > 0)
        sizes = found.group_by("cluster").len()["len"]
        out.append(
            {
                "stage": rule.stage,
                "prefer": list(rule.prefer),
                "clusters": len(sizes),
                "members": found.height,
                "dropped": losers.height,
                "largest": int(sizes.max() or 0),  # type: ignore[arg-type]
                "least": losers["similarity"].min(),
            }
        )
    return out


def pairs(
    store: Store, dataset: DatasetVersion, *, id_: str | None = None, stage: str | None = None, order: str = "doubtful",
    most: int = 10,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return pairs {stage, similarity, reason, dropped, kept}, both samples as {id, text, diff, media, picture}.

    With `id_` those of one sample, dropped or kept; else of a stage, or of all: `doubtful` pairs first (lowest similarity),
    `sure` ones (highest), or one of each of the `large` clusters. Ties go by id. `diff` is a list of [same|only, words].
    """
    ledger = Ledger(store, dataset)
    rules = [r for r in ledger.rules if r.cluster and stage in (None, r.stage)]
    if not rules:
        names = [r.stage for r in ledger.rules if r.cluster]
        msg = f"no deduplicating stage `{stage}` in `{dataset.ref}`{nearest(str(stage), names)}" if stage else (
            f"`{dataset.ref}` has no deduplicating stage"
        )  # fmt: skip
        raise UserError(msg, usage=True)
    chosen = pl.concat([_chosen(ledger, r, id_, order, most) for r in rules])
    if id_ is not None and not chosen.height:
        msg = f"`{id_}` has no duplicate in `{dataset.ref}`"
        raise UserError(msg, hint=f"`cuvee why {id_}` says what decided about it")
    digests = digests_of(dataset)
    return [_pair(store, digests, row) for row in _sorted(chosen, order).head(most).iter_rows(named=True)]


def _chosen(ledger: Ledger, rule: Rule, id_: str | None, order: str, most: int) -> pl.DataFrame:
    found = ledger.clusters(rule).with_columns(pl.len().over("cluster").alias("size"))
    losers = found.filter(pl.col("rank") > 0)
    if id_ is not None:
        losers = losers.filter((pl.col("id") == id_) | (pl.col("keeper") == id_))
    if order == "large":
        losers = losers.sort("cluster", "similarity", "id").unique("cluster", keep="first", maintain_order=True)
    columns = ["id", "keeper", "cluster", "similarity", "reason", "size"]
    return _sorted(losers.select(pl.lit(rule.stage).alias("stage"), *columns), order).head(most)


def _sorted(pairs: pl.DataFrame, order: str) -> pl.DataFrame:
    if order not in _ORDERS:
        msg = f"no order named `{order}`{nearest(order, _ORDERS)}"
        raise UserError(msg, usage=True)
    by, falling = ("size", True) if order == "large" else ("similarity", order == "sure")
    return pairs.sort([by, "stage", "id"], descending=[falling, False, False])


def _pair(store: Store, digests: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, Any]:
    both = [_sample(store, digests, row[name]) for name in ("id", "keeper")]
    for sample, words in zip(both, compare(both[0]["text"], both[1]["text"]), strict=True):
        sample["diff"] = words
    keep = ("stage", "cluster", "size", "similarity", "reason")
    return {**{k: row[k] for k in keep}, "dropped": both[0], "kept": both[1]}


def _sample(store: Store, digests: Mapping[str, str], id_: str) -> dict[str, Any]:
    found = find_sample(store, digests, id_)
    if found is None:
        return {"id": id_, "text": "", "media": [], "picture": "", "gone": True}
    source, row = found
    with MediaReader(store.source_dir(source.name, source.digest)) as reader:
        picture = thumbnail(row["media"] or [], reader)
    media = [{k: m[k] for k in ("kind", "mime", "width", "height", "digest")} for m in row["media"] or []]
    return {"id": id_, "text": text(row["messages"] or [], TEXT), "media": media, "picture": picture, "gone": False}


def compare(a: str, b: str) -> tuple[list[list[str]], list[list[str]]]:
    """Return both texts as runs [`same` or `only`, text]: what they have in common, word by word, and what they do not."""
    left, right = _WORD.findall(a), _WORD.findall(b)
    begin = _common(left, right)
    end = _common(left[begin:][::-1], right[begin:][::-1])
    codes = [(True, 0, begin, 0, begin)]
    # `autojunk`: a word that is everywhere begins no run. Without it, two texts of one word over and over take minutes.
    match = difflib.SequenceMatcher(None, left[begin : len(left) - end], right[begin : len(right) - end])
    codes += [(k == "equal", begin + i, begin + j, begin + m, begin + n) for k, i, j, m, n in match.get_opcodes()]
    codes += [(True, len(left) - end, len(left), len(right) - end, len(right))]
    return _runs(left, [(same, i, j) for same, i, j, _, _ in codes]), _runs(
        right, [(same, i, j) for same, _, _, i, j in codes]
    )


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many words both begin with."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _runs(words: Sequence[str], spans: Sequence[tuple[bool, int, int]]) -> list[list[str]]:
    out: list[list[str]] = []
    for same, i, j in spans:
        name, said = "same" if same else "only", "".join(words[i:j])
        if said and out and out[-1][0] == name:
            out[-1][1] += said
        elif said:
            out.append([name, said])
    return out


# -- one HTML page -----------------------------------------------------------------------------------------------------

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; background: #fff }
section { border-top: 1px solid #ccc; padding: 1rem 0 }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 1.5rem }
.two img { max-width: 100%; max-height: 20rem; border: 1px solid #ddd }
.id { font: 13px monospace; overflow-wrap: anywhere }
.text { white-space: pre-wrap; overflow-wrap: anywhere }
.dropped mark { background: #ffd5d0 } .kept mark { background: #cfeecb }
@media (prefers-color-scheme: dark) {
  body { background: #161616; color: #ddd } section, .two img { border-color: #444 }
  .dropped mark { background: #6b2a22; color: inherit } .kept mark { background: #22552a; color: inherit }
}
"""


def page(dataset: str, found: Sequence[Mapping[str, Any]]) -> str:
    """Return an HTML page of pairs; texts are escaped, pictures embedded: it loads nothing."""
    return "".join(_page(dataset, found))


def _page(dataset: str, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    title = f"Duplicates in {escape(dataset)}"
    yield '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
    for pair in found:
        similarity = "-" if pair["similarity"] is None else f"{pair['similarity']:.3f}"
        yield f"<section><h2>{escape(pair['stage'])}: similarity {similarity}</h2>"
        yield f"<p>{escape(because(pair))}; {pair['size']:,} samples in the cluster</p><div class=two>"
        for side in ("dropped", "kept"):
            sample = pair[side]
            yield f'<div class="{side}"><h3>{side}</h3><p class=id>{escape(sample["id"])}</p>'
            if sample["picture"]:
                yield f'<img src="{sample["picture"]}" alt="first picture of the {side} sample">'
            yield "<p class=text>"
            for kind, words in sample["diff"]:
                yield escape(words) if kind == "same" else f"<mark>{escape(words)}</mark>"
            yield "</p></div>"
        yield "</div></section>"
    yield "</html>\n"


def because(pair: Mapping[str, Any]) -> str:
    """Return why the one stays and not the other, in words."""
    if pair["reason"] == "frozen":
        return "the other is of a frozen source"
    if pair["reason"] in (None, "id"):
        return "equally good: the smaller id stays"
    if pair["reason"] == "order":
        return "the other comes first in the filter's own order"
    return f"the other comes first by `{pair['reason']}`"
