"""Why a sample was kept, dropped or rejected: what the ledger says, and what the sample and the ones like it look like.

A verdict that names another sample can only be judged by looking at both, so the text and the media of what it duplicates or
leaks come with it, and those of the other members of its clusters.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow.compute as pc

from catalog import ledger
from catalog.store import DatasetVersion, SourceVersion, Store

TEXT = 300  # characters of a sample's text
RUN = 5  # words in a row that are worth telling
WORDS = 3000  # of each text that are compared
OTHERS = 3  # members of a cluster that are shown beside a sample


def why(store: Store, dataset: DatasetVersion, id_: str) -> dict[str, Any]:
    """Return what `catalog.ledger.why` does, with `sample` {text, media, boxes}, `others`: [{id, by, text, .., common}], and
    `onward`: [{id, stage, match}], who the survivor itself went for in a later stage, up to one that stays."""
    out = ledger.why(store, dataset, id_)
    if "reject" in out:
        return out
    digests = digests_of(dataset)
    by: dict[str, list[dict[str, Any]]] = {}
    for stage, other, similarity in _others(out, id_):
        by.setdefault(other, []).append({"stage": stage, "similarity": similarity})
    mine = look(store, digests, id_)
    shown = {
        other: found for other in by if (found := look(store, digests, other)) is not None
    }  # or: its source is gone
    others = [
        {"id": i, "by": by[i], **_cut(found), "common": common(mine["text"], found["text"]) if mine else ""}
        for i, found in shown.items()
    ]
    return out | {
        "sample": _cut(mine) if mine else None,
        "others": others,
        "onward": list(onward(ledger.Ledger(store, dataset), id_)),
    }


def onward(book: ledger.Ledger, id_: str) -> Iterator[dict[str, str]]:
    """Yield {id, stage, match} of the survivors of a duplicate that later stages dropped, each for the next one."""
    at, first = id_, True
    for rule in [r for r in book.rules if r.cluster]:
        found = book.clusters(rule).filter((pl.col("id") == at) & (pl.col("rank") > 0))
        if found.height:
            match = str(found["keeper"][0])
            if not first:
                yield {"id": at, "stage": rule.stage, "match": match}
            at, first = match, False


def _cut(sample: Mapping[str, Any]) -> dict[str, Any]:
    return {**sample, "text": short(sample["text"], TEXT)}


def common(one: str, other: str) -> str:
    """Return the longest run of words that two texts have in common, in any case, cut short; nothing under `RUN` words."""
    a, b = one.split()[:WORDS], other.split()[:WORDS]
    match = difflib.SequenceMatcher(None, [w.lower() for w in a], [w.lower() for w in b], autojunk=False)
    found = match.find_longest_match()
    return short(" ".join(a[found.a : found.a + found.size]), TEXT) if found.size >= RUN else ""


def digests_of(dataset: DatasetVersion) -> dict[str, str]:
    """Return the digests of all sources, by name, whose samples a dataset version may speak of."""
    digests = {str(s["name"]): str(s["digest"]) for s in dataset.sources}
    for certificate in dataset.decontamination:  # evaluation items are of no source of the dataset
        digests |= {str(s["name"]): str(s["digest"]) for s in certificate.get("sets", ())}
    for stage in dataset.recipe["stages"]:  # nor are frozen samples
        digests |= {str(name): str(digest) for name, digest in stage.get("frozen", ())}
    return digests


def _others(out: Mapping[str, Any], id_: str) -> Iterator[tuple[str, str, float | None]]:
    """Yield (stage, id, similarity) of the samples that decided about this one, or of which it is the keeper."""
    for cluster in out["clusters"]:
        members = {m["id"]: m for m in cluster["members"]}
        keeper = members[id_]["keeper"]
        if keeper in members and keeper != id_:
            yield cluster["stage"], keeper, members[id_]["similarity"]
        else:
            for other in [i for i in members if i != id_][:OTHERS]:
                yield cluster["stage"], other, members[other]["similarity"]
    clustered = {c["stage"] for c in out["clusters"]}
    for verdict in out["verdicts"]:
        if verdict["match"] and verdict["stage"] not in clustered:
            yield verdict["stage"], verdict["match"], verdict["value"]


def look(store: Store, digests: Mapping[str, str], id_: str) -> dict[str, Any] | None:
    """Return {text, media, boxes} of a stored sample, or None where it is not there."""
    found = find_sample(store, digests, id_)
    if found is None:
        return None
    source, row = found
    return {
        "text": text(row["messages"] or []),
        "media": [_medium(store, source, m) for m in row["media"] or []],
        "boxes": len(row["boxes"] or []),
    }


def find_sample(store: Store, digests: Mapping[str, str], id_: str) -> tuple[SourceVersion, dict[str, Any]] | None:
    """Return the source of a stored sample and its {messages, media, boxes}, or None where it is not there."""
    name = id_.partition("/")[0]
    if name not in digests or not (store.source_dir(name, digests[name]) / "source.json").exists():
        return None
    source = store.source(f"{name}@{digests[name]}")
    for shard in range(source.shards):
        at = pc.index(store.samples(source, shard, ["id"])["id"], id_).as_py()
        if at >= 0:
            return source, store.samples(source, shard, ["messages", "media", "boxes"]).slice(at, 1).to_pylist()[0]
    return None


def text(messages: Sequence[Mapping[str, str]], limit: int | None = None) -> str:
    """Return what is said, on one line, its first `limit` characters; who says it where it is more than one."""
    spoken = [m["content"] if len(messages) == 1 else f"{m['role']}: {m['content']}" for m in messages]
    said = " ".join(" ".join(spoken).split())
    return said if limit is None else short(said, limit)


def short(said: str, limit: int) -> str:
    """Return the first characters of a text."""
    return said[:limit] + ("..." if len(said) > limit else "")


def _medium(store: Store, source: SourceVersion, medium: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the bytes of a medium lie: a tar, the first byte in it, and how many."""
    path = store.source_dir(source.name, source.digest) / medium["shard"] if medium["shard"] else None
    keys = ("kind", "mime", "width", "height", "frames", "duration")
    known = {k: medium[k] for k in keys if medium[k] is not None}
    return {**known, "tar": str(path) if path else None, "offset": medium["offset"], "bytes": medium["size"]}
