"""Do Cuvee's text rules decide like datatrove's? Every text of a folder, both ways.

    python benchmarks/text_parity.py                 # ../shared/data, or the folder that --data names
    python benchmarks/text_parity.py --quick         # every 40th text

Each filter is asked twice: with datatrove's words, which must leave no difference, and with Cuvee's own. datatrove's words and
decisions take minutes and are kept in the user's cache, named by the digest of the texts. The last line is JSON.
"""

import argparse
import csv
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

MARK = re.compile(r"<(?:image|video|audio|mesh)>")  # no text in Cuvee: `filters/shared/text.py`
NO_TEXT = re.compile(r"\S*[/\\:@]\S*|[0-9a-fA-F-]{12,}|\S+\.\w{2,5}")  # a path, an address, a digest, a file name
TAGS = re.compile(r"(?s)<(script|style).*?</\1>|<[^>]*>")
csv.field_size_limit(1 << 30)


# -- the texts ---------------------------------------------------------------------------------------------------------


def strings(value):
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from strings(v)
    elif isinstance(value, list):
        for v in value:
            yield from strings(v)


def json_strings(content):
    """Yield every string of a JSON or JSON-lines file; nothing for one that is neither."""
    try:
        yield from strings(json.loads(content))
    except ValueError:
        for line in content.split("\n"):
            try:
                yield from strings(json.loads(line))
            except ValueError:
                continue


def of_file(name, data):
    """Yield the texts of one file: values, cells, whole files, lines, pages with and without their tags."""
    if name.endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError):
            return
        name = name[:-3]
    content = data.decode("utf-8", "replace")
    if name.endswith((".json", ".jsonl")):
        yield from json_strings(content)
    elif name.endswith((".csv", ".tsv")):
        try:
            for row in csv.reader(content.splitlines(keepends=True), delimiter="\t" if name.endswith(".tsv") else ","):
                yield from row
        except csv.Error:
            yield content
    elif name.endswith((".txt", ".md")):
        yield content
        yield from content.split("\n")
    elif name.endswith((".html", ".htm", ".warc")):
        for page in content.split("WARC/1.0\r\n"):
            yield page
            yield TAGS.sub(" ", page)


def collect(root):
    """Return every text under `root`, each once, in the order of their files."""
    found = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        for text in of_file(path.name.lower(), path.read_bytes()):
            text = MARK.sub(" ", text.encode("utf-8", "replace").decode())
            if any(c.isalpha() for c in text[:10_000]) and not NO_TEXT.fullmatch(text):
                found.setdefault(text)
    return list(found)


# -- datatrove ---------------------------------------------------------------------------------------------------------


def ask(mode, texts, target):
    """Let datatrove decide about `texts`, in its own environment, and return the table."""
    import peers

    source = target.with_suffix(".texts.parquet")
    pq.write_table(pa.table({"text": pa.array(texts, pa.large_string())}), source)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    script = Path(__file__).with_name("_datatrove.py")
    part = target.with_suffix(".part")
    subprocess.run([peers.python("datatrove"), script, mode, source, part], check=True, env=environment)
    part.rename(target)
    source.unlink()
    return pq.read_table(target)


def asked(mode, texts):
    """Return what datatrove said of `texts`, from the cache where it was asked before."""
    root = Path(os.environ.get("CUVEE_PEERS", Path.home() / ".cache" / "cuvee" / "peers"))
    digest = hashlib.sha256(Path(__file__).with_name("_datatrove.py").read_bytes())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    target = root / "parity" / f"{mode}-{digest.hexdigest()[:16]}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    return pq.read_table(target) if target.exists() else ask(mode, texts, target)


def golden(path):
    """Write the golden file of the tests."""
    from tests.filters.parity_samples import TEXTS

    texts = list(dict.fromkeys(t.encode("utf-8", "replace").decode() for t in TEXTS))
    rows = ask("decide", texts, path.with_suffix(".parquet"))
    path.with_suffix(".parquet").unlink()
    # A word's bytes as two small numbers: from the end of the word before it, and its size.
    out = []
    for text, row in zip(texts, rows.to_pylist(), strict=True):
        ends = [0, *row.pop("ends")]
        starts = row.pop("starts")
        words = [n for a, e, z in zip(starts, ends, ends[1:], strict=False) for n in (a - e, z - a)]
        out.append({"text": hashlib.sha256(text.encode()).hexdigest()[:12], "words": words, **row})
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in out)
    path.write_text(f"[\n{lines}\n]\n")


# -- Cuvee -------------------------------------------------------------------------------------------------------------

ROWS = (  # row of the table, filter, parameters beyond the published ones, datatrove's column, bounds
    ("c4", "c4", {}, "c4", None),
    ("gopher_quality", "gopher_quality", {}, "gopher_quality", None),
    ("gopher_repetition", "gopher_repetition", {}, "gopher_repetition", None),
    ("fineweb", "fineweb", {}, "fineweb", None),
    ("c4, paragraphs of mC4", "c4", {}, "c4_paragraphs", {"long_lines": (3, None)}),
    ("c4, as FineWeb sets it", "c4", {"terminal": False}, "c4_of_fineweb", None),
    ("fineweb, after that", "fineweb", {"cleaned": True}, "fineweb_after_c4", None),
)
STEP = 4000  # texts per batch


class PeerWords:
    """datatrove's words, looked up by text: what stands in for the tokeniser `spacy`."""

    def __init__(self):
        self.rows = {}

    def add(self, texts, table):
        starts, ends = (table[k].combine_chunks() for k in ("starts", "ends"))
        at = np.asarray(starts.offsets)
        starts, ends = (np.asarray(c.flatten()) for c in (starts, ends))
        for i, text in enumerate(texts):
            self.rows[text.encode()] = starts[at[i] : at[i + 1]], ends[at[i] : at[i + 1]]

    def __call__(self, texts):
        starts, sizes, first = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [0]
        for low, high in zip(texts.offsets[:-1].tolist(), texts.offsets[1:].tolist(), strict=True):
            begin, end = self.rows[texts.data[low:high].tobytes()]
            starts.append(begin.astype(np.int64) + low)
            sizes.append(end - begin)
            first.append(first[-1] + len(begin))
        return np.concatenate(starts), np.concatenate(sizes).astype(np.int32), np.array(first, np.int64)


def batch_of(texts):
    """Return texts as samples: an assistant's answers."""
    from catalog.schema import SAMPLE

    rows = [
        {"id": f"t/{i}", "digest": "", "source": "t", "task": "text", "license": "unknown", "media": [], "boxes": [],
         "meta": "{}", "messages": [{"role": "assistant", "content": text}]}
        for i, text in enumerate(texts)
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=SAMPLE)


def strings_of(texts):
    """Return the strings of `Texts`."""
    return [texts.data[a:b].tobytes().decode() for a, b in zip(texts.offsets[:-1], texts.offsets[1:], strict=True)]


def decide(batches, name, params, bounds):
    """Return per text whether Cuvee drops it, and the number of the first score that does so (-1)."""
    from filters.base import load

    found = load(name, params)
    firsts = []
    for batch in batches:
        out = found.score(batch)
        first = np.full(batch.num_rows, -1)
        for number, (score, (low, high)) in reversed(list(enumerate((bounds or found.bounds).items()))):
            value = out.column(score).to_numpy(zero_copy_only=False).astype(np.float64)
            null = np.asarray(out.column(score).is_null())
            with np.errstate(invalid="ignore"):
                inside = (value >= low if low is not None else True) & (value <= high if high is not None else True)
            first[~null & ~inside] = number
        firsts.append(first)
    return np.concatenate(firsts), list(bounds or found.bounds)


def causes(texts, differing, own, peer):
    """Return what the differing texts have in common: the first words in which the two splits differ."""
    from filters.shared.text import buffers

    found = Counter()
    for i in differing:
        raw = buffers(pa.array([texts[i]], pa.large_string()))
        spans = []
        for tokeniser in (own, peer):
            starts, sizes, _ = tokeniser(raw)
            spans.append(dict.fromkeys(zip(starts.tolist(), sizes.tolist(), strict=True)))
        mine, theirs = ([s for s in spans[a] if s not in spans[1 - a]] for a in (0, 1))
        if mine or theirs:
            show = [" ".join(raw.data[s : s + n].tobytes().decode() for s, n in side[:3]) for side in (mine, theirs)]
            found[f"words: ours `{show[0]}`, theirs `{show[1]}`"] += 1
        else:
            found["same words"] += 1
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--quick", action="store_true", help="every 40th text")
    parser.add_argument("--golden", type=Path, help="write the golden file of the tests instead")
    args = parser.parse_args()
    if args.golden:
        golden(args.golden)
        return
    if not args.data.is_dir():
        sys.exit(f"no folder `{args.data}`: name one with --data")
    from filters.shared import page, split
    from filters.shared.text import buffers
    from tests.filters.parity_samples import PUBLISHED, REASONS

    texts = collect(args.data)
    texts = texts[::40] if args.quick else texts
    size = sum(len(t.encode()) for t in texts)
    print(f"{len(texts):,} different texts, {size / 1e6:.1f} MB", file=sys.stderr)
    theirs = asked("decide", texts)
    peer = PeerWords()
    peer.add(texts, theirs)

    # Words of what the rules change: lines without their citation marks, and pages after C4.
    raw = buffers(pa.array(texts, pa.large_string()))
    changed = dict.fromkeys(())
    for terminal in (True, False):
        lines = page.keep(raw, page.Rules(terminal=terminal))
        changed.update(dict.fromkeys(strings_of(lines.edited)))
        if not terminal:
            changed.update(dict.fromkeys(strings_of(page.joined(raw, lines))))
    changed = [t for t in changed if t.encode() not in peer.rows]
    peer.add(changed, asked("words", changed))

    own = split.cuvee
    starts, sizes, first = own(raw)
    peer_starts, peer_sizes, peer_first = peer(raw)
    other = 0
    for i in range(len(texts)):
        a, b = slice(first[i], first[i + 1]), slice(peer_first[i], peer_first[i + 1])
        other += not (np.array_equal(starts[a], peer_starts[b]) and np.array_equal(sizes[a], peer_sizes[b]))
    print(f"{len(peer_starts):,} words; texts with other words than datatrove's: {other}", file=sys.stderr)

    split.spacy = peer
    batches = [batch_of(texts[i : i + STEP]) for i in range(0, len(texts), STEP)]
    result = {
        "texts": len(texts),
        "megabytes": round(size / 1e6, 1),
        "words": len(peer_starts),
        "texts_with_other_words": other,
    }
    rows, notes = [], []
    for row, name, extra, column, bounds in ROWS:
        reasons = theirs[column].to_pylist()
        drops = np.array([r != "" for r in reasons])
        before = np.zeros(len(texts), bool)
        if column == "fineweb_after_c4":  # only what C4's rules keep comes here
            before = np.array([r != "" for r in theirs["c4_of_fineweb"].to_pylist()])
        differ = {}
        wrong = 0
        for tokeniser in ("spacy", "cuvee"):
            found, scores = decide(batches, name, {**PUBLISHED[name], **extra, "tokeniser": tokeniser}, bounds)
            differ[tokeniser] = np.flatnonzero((found >= 0) != drops)[~before[(found >= 0) != drops]]
            if tokeniser == "spacy" and bounds is None:
                both = np.flatnonzero((found >= 0) & drops & ~before)
                wrong = sum(reasons[i] not in REASONS[name][scores[found[i]]] for i in both)
        seen = len(texts) - int(before.sum())
        agree = 1 - len(differ["cuvee"]) / max(seen, 1)
        rows.append((row, seen, int((drops & ~before).sum()), len(differ["spacy"]), wrong, len(differ["cuvee"]), agree))
        notes += [(row, *c) for c in causes(texts, differ["cuvee"], own, peer).most_common(20)]
        result[column] = {
            "texts": seen, "dropped": int((drops & ~before).sum()), "differences_with_its_words": len(differ["spacy"]),
            "other_first_reason": wrong, "differences_with_our_words": len(differ["cuvee"]), "agreement": round(agree, 6),
        }  # fmt: skip
    print(
        "| filter | texts | dropped | differences, its words | other first reason | differences, our words | agreement |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for row, *numbers, agree in rows:
        print(f"| {row} | {' | '.join(f'{n:,}' for n in numbers)} | {agree:.4%} |")
    for row, cause, count in notes:
        print(f"{row}: {count} x {cause}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
