"""What curation found, as a terminal shows it: plans, funnels, filters, samples. Data to standard output."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.console import WIDTH, cell, table
from catalog.histogram import Histogram, draw
from catalog.store import Store
from curate import explain
from curate.dedup.explain import because

# -- plan --------------------------------------------------------------------------------------------------------------


def plan(out: Mapping[str, Any]) -> None:
    """Print a plan: sources, stages, steps, and what is not installed."""
    table(out["sources"])
    if out["stages"]:
        print()
        rows = [
            {**s, "looks at": ", ".join(s["looks_at"]), "does": ", ".join(s["does"]), "bounds": _bounds(s["bounds"])}
            for s in out["stages"]
        ]
        shown = ("stage", "looks at", "does", "samples", "shards", "cached", "bounds")
        table(rows, shown, wrap=("looks at", "bounds"))
    print()
    _steps(out)
    if out["needs"]:
        print("\nnot installed, and a run stops without it:")
        table([{**n, "missing": ", ".join(n["missing"])} for n in out["needs"]], ["stage", "missing", "install"])


def _steps(out: Mapping[str, Any]) -> None:
    """Print the steps of a plan: what each does, what its filters share, how much is left to do."""
    rows = []
    for p in out["steps"]:
        unit = p["unit"] if p["items"] != 1 else p["unit"].removesuffix("s")
        left = None if p["cached"] is None else p["items"] - p["cached"]
        what = "" if p["step"] in ("score", "judge") else ", ".join(p["names"])
        if p["items"]:
            rows.append(
                {"step": p["step"], "of": f"{p['items']:,} {unit}", "stored": p["cached"], "to do": left, "what": what}
            )
    table(rows, ["step", "of", "stored", "to do", "what"], wrap=("what",))
    shared = [
        {"made once per batch": s["work"], "for": len(s["filters"]), "filters": ", ".join(s["filters"])}
        for p in out["steps"] for s in p["shares"]
    ]  # fmt: skip
    if shared:
        print()
        table(shared, wrap=("filters",))
    passes = out["passes"]
    print()
    if passes["shards"] is None:
        print("not known before ingest, fitting and indexing: how many shards are to be scored")
    else:
        print(
            f"to score: {passes['samples']:,} samples in {passes['shards']:,} shards, {passes['decoding']:,} with images"
        )


def _bounds(rules: Sequence[Mapping[str, Any]]) -> str:
    shown = []
    for r in rules:
        bound = " ".join(f"{k} {r[k]}" for k in ("min", "max", "top") if k in r)
        shown.append(f"one per cluster{' by ' + ', '.join(r['prefer']) if r['prefer'] else ''}" if r.get("cluster") else
                     f"{r['score']} {bound}")  # fmt: skip
    return "; ".join(shown)


# -- run ---------------------------------------------------------------------------------------------------------------


def funnel(out: Mapping[str, Any]) -> None:
    """Print the counts of a run: in all, per rule, per source."""
    counts = out["counts"]
    print(
        f"{counts['rows']:,} in = {counts['kept']:,} kept + {counts['dropped']:,} dropped + {counts['rejected']:,} rejected"
    )
    table([f for f in out["funnel"] if f["alone"]] or out["funnel"])
    print()
    table([
        {"source": s["name"], "rejected": s["rejects"], "samples": s["samples"], "kept": s["kept"],
         "share": f"{100 * s['kept'] / s['samples']:.1f} %" if s["samples"] else None}
        for s in out["sources"]
    ])  # fmt: skip
    print()


def losses(store: Store, ref: str) -> Iterator[str]:
    """Yield what a user should know before going on: sources that gave nothing or lost rows, and a dataset that keeps nothing."""
    dataset = store.dataset(ref)
    for entry in dataset.sources:
        source = store.source(f"{entry['name']}@{entry['digest']}")
        if not source.rows:
            yield f"source `{source.name}` is empty"
        if source.rejects:
            codes = ", ".join(f"{code} {n:,}" for code, n in sorted(source.rejected.items()))
            first = next(t["locator"][0].as_py() for t in store.rejects(source) if t.num_rows)
            yield (
                f"source `{source.name}`: {source.rejects:,} of {source.rows:,} rows rejected ({codes}); "
                f"`cuvee why {source.name}/{first}` says why"
            )
    if not dataset.counts["kept"]:
        yield f"nothing is kept in {dataset.ref}"


# -- why ---------------------------------------------------------------------------------------------------------------


def why(out: Mapping[str, Any]) -> None:
    """Print what decided about a sample, what it looks like, and beside it the samples that it duplicates or leaks."""
    print(f"{cell(out['id'])}: {out['outcome']} in {out['dataset']}")
    if "reject" in out:
        table([out["reject"]], ["code", "message"])
        return
    sample = out["sample"]
    if sample is not None:
        print("\n" + textwrap.fill(cell(sample["text"]) or "(no text)", WIDTH))
        for m in sample["media"]:
            print(f"{_medium(m)}{_where(m)}")
        print()
    # What dropped it first, then what looked at it and kept it; rules that do not apply are counted only.
    judged = sorted((v for v in out["verdicts"] if v["value"] is not None), key=lambda v: bool(v["keep"]))
    if judged:
        table(judged, ["stage", "score", "value", "low", "high", "keep", "match"])
    print(f"{len(out['verdicts']) - len(judged)} rules do not apply to it")
    for cluster in out["clusters"]:
        print(f"\ncluster of {cluster['stage']}")
        table(cluster["members"])
    for step in out["onward"]:
        print(f"\n{cell(step['id'])} itself went for {cell(step['match'])} ({step['stage']})")
    for other in out["others"]:
        _pair(out, other)


def _pair(out: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    like = (f"{b['stage']} {'-' if b['similarity'] is None else cell(float(b['similarity']))}" for b in other["by"])
    print(f"\nalike by {', '.join(like)}")
    left = out["sample"] or {"text": "", "media": []}
    pair = ((out["id"], left), (other["id"], other))
    rows = [{i: s["text"] for i, s in pair}]
    for n in range(max(len(left["media"]), len(other["media"]))):
        rows.append({i: _medium(s["media"][n]) if n < len(s["media"]) else "" for i, s in pair})
    table(rows, wrap=(out["id"], other["id"]))
    if other["common"] and other["common"] != left["text"]:
        print(textwrap.fill(f"in common: {cell(other['common'])}", WIDTH))
    for m in other["media"]:
        print(f"{_medium(m)}{_where(m)}")


def _medium(m: Mapping[str, Any]) -> str:
    size = f" {m['width']} x {m['height']}" if "width" in m else ""
    length = f" {m['duration']:.1f} s" if "duration" in m else ""
    stored = f", {m['bytes']:,} bytes" if m["tar"] else ", not stored"
    return cell(f"{m['mime'] if 'mime' in m else m['kind']}{size}{length}{stored}")


def _where(m: Mapping[str, Any]) -> str:
    return cell(f" at {m['offset']} of {m['tar']}") if m["tar"] else ""


# -- quality models ----------------------------------------------------------------------------------------------------

WORDS = 12  # telling ones that are shown of each side


def quality(found: Mapping[str, Any]) -> None:
    """Print what a quality model has learnt: figures, the most telling words and pairs of both sides, and what it comes to."""
    table(
        [
            {"measure": k, "value": v}
            for k, v in found.items()
            if k != "says" and isinstance(v, int | float | str | None)
        ]
    )
    for key, what in (("telling", "words"), ("telling_pairs", "pairs of words")):
        good, bad = (found[key][side][:WORDS] for side in ("good", "bad"))
        if good or bad:
            print(f"\nmost telling {what}")
            table([{"good side": ", ".join(good), "bad side": ", ".join(bad)}], wrap=("good side", "bad side"))
    print()
    print(textwrap.fill(str(found["says"]), WIDTH))


# -- filters -----------------------------------------------------------------------------------------------------------


def filter_(out: Mapping[str, Any]) -> None:
    """Print what is known of a filter, and the distribution of its scores."""
    print(f"{out['filter']}  version {out['version']}  looks at {', '.join(out['looks_at']) or 'nothing'}"
          + (f"; {', '.join(out['does'])}" if out["does"] else ""))  # fmt: skip
    print(f"\n{explain.readable(out['doc'])}\n")
    table(out["scores"], ["score", "type", "kind", "min", "max"])
    if out["parameters"]:
        print()
        table([{**p, "default": json.dumps(p["default"]), "value": json.dumps(p["value"], default=str)}
               for p in out["parameters"]])  # fmt: skip
    if "data" in out:
        _distributions(out["data"])


def _distributions(data: Mapping[str, Any]) -> None:
    """Print the histograms of a filter's scores, with quantiles and the samples next to each bound, or at both ends."""
    scored = "stored scores" if data["stored"] else "scored now, nothing written"
    print(f"\n{', '.join(data['sources'])}: {data['looked_at']:,} of {data['samples']:,} samples, {scored}")
    for s in data["scores"]:
        print(f"\n{s['score']}: {s['scored']:,} have it, {s['null']:,} do not, {s['nan']:,} could not be computed")
        if s["histogram"] is None:
            continue
        marks = [(k, s[k]) for k in ("min", "max") if s[k] is not None]
        for line in draw(Histogram.from_json(s["histogram"]), marks, width=60, height=8):
            print(f"  {line}")
        print("  quantiles  " + "  ".join(f"{q} {cell(v)}" for q, v in s["quantiles"].items()))
        if marks:
            print(f"  the bound drops {s['dropped']:,} ({100 * s['dropped'] / max(s['scored'], 1):.2f} %): "
                  f"{s['below']:,} below, {s['above']:,} above, {s['nan']:,} not computed")  # fmt: skip
        for near in s["near"]:
            for side in ("kept", "dropped"):
                _cards(f"{side} by {near['side']} {cell(near['bound'])}", near[side])
        for end, cards in s["ends"].items():
            _cards(end, cards)
    for score in data["not_pooled"]:
        print(f"\n{score}: follows from all samples; `--sample 0` looks at all of them")
    if "clusters" in data:
        c = data["clusters"]
        print(f"\n{c['in_clusters']:,} of {c['signatures']:,} samples are in {c['clusters']:,} clusters; one per cluster "
              f"stays, {c['dropped']:,} go" + ("" if data["looked_at"] == data["samples"] else
              ". A sample shows few of the duplicates that all have: `--sample 0` looks at all"))  # fmt: skip


def _cards(what: str, cards: Sequence[Mapping[str, Any]]) -> None:
    for card in cards:
        print(f"  {what}: {cell(card['value'])}  {cell(card['id'])}  {cell(card['text'][:90])}")


# -- duplicates --------------------------------------------------------------------------------------------------------


def clusters(stages: Sequence[Mapping[str, Any]]) -> None:
    """Print what each deduplicating stage found."""
    table(
        [{**s, "prefer": ", ".join(s["prefer"]) or "smallest id"} for s in stages],
        ["stage", "clusters", "members", "dropped", "largest", "least", "prefer"],
        wrap=("prefer",),
    )


def pairs(found: Sequence[Mapping[str, Any]]) -> None:
    """Print pairs of a dropped sample and the one that stays, with what only one of them says in [-..-] and {+..+}."""
    for pair in found:
        similarity = "-" if pair["similarity"] is None else f"{pair['similarity']:.3f}"
        print(f"{pair['stage']}: similarity {similarity}, {pair['size']:,} samples in the cluster; {because(pair)}")
        for side, marks in (("dropped", ("[-", "-]")), ("kept", ("{+", "+}"))):
            sample = pair[side]
            print(f"\n  {side:<8}{cell(sample['id'])}" + (" (its source is gone)" if sample["gone"] else ""))
            for m in sample["media"]:
                size = f" {m['width']} x {m['height']}" if m["width"] else ""
                print(f"          {cell(m['mime'] or m['kind'])}{size} {m['digest'][:16]}")
            said = "".join(words if kind == "same" else words.join(marks) for kind, words in sample["diff"])
            print(
                textwrap.fill(cell(said), WIDTH, initial_indent=" " * 10, subsequent_indent=" " * 10)
                or " " * 10 + "(no text)"
            )
        print()


def curve(bands: int, rows: int, points: Sequence[tuple[float, float]], midpoint: float) -> None:
    """Print the S-curve of MinHash LSH: which share of pairs of a similarity become candidates."""
    print(f"{bands} bands of {rows} rows, {bands * rows} hash functions: half of the pairs at Jaccard {midpoint:.3f}\n")
    for similarity, share in points:
        print(f"  {similarity:.2f}  {share:6.1%}  {'#' * round(50 * share)}")
