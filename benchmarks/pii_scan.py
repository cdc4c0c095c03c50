"""What the filter `pii` finds in real data, for reading: counts per data set and kind, and the hits themselves.

    python benchmarks/pii_scan.py [--data ../shared/data] [--show 20] [--only html sroie]

Prints a table, with `--show` so many hits of each kind and set (the same ones every time), and last one line of JSON. No peer:
nobody's patterns are compared, the hits are judged by eye (docs/pii.md).
"""

import argparse
import gzip
import json
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from filters.shared import pii


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def values(record):
    return "\n".join(str(v) for v in record.values() if isinstance(v, str | int | float))


def page(path):
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as f:
        return f.read()


def sets(data):
    """Return the texts of every set, by name."""
    demo, crawl = data / "llamafactory_demo", data / "commoncrawl_dolma"
    pages = crawl.glob("*.json*.gz")
    return {
        "gsm8k": [values(r) for r in lines(data / "gsm8k" / "train.jsonl")],
        "math_vision": [values(r) for r in lines(data / "math_vision" / "test.jsonl")],
        "gpteacher": [values(r) for p in sorted((data / "instruct_gpteacher").glob("*.jsonl")) for r in lines(p)],
        "alpaca": [values(r) for r in lines(data / "instruct_alpaca" / "random_9k.jsonl")],
        "alpaca_eval": [
            r["output"] for p in sorted((data / "alpaca_eval_outputs" / "outputs").glob("*.gz")) for r in lines(p)
        ],
        "llamafactory": [json.dumps(r, ensure_ascii=False) for p in sorted(demo.glob("*.jsonl")) for r in lines(p)],
        "laion alt texts": [r["text"] for r in lines(data / "alttext_laion10k" / "records.jsonl")],
        "cs231n": [json.dumps(r, ensure_ascii=False) for p in sorted((data / "cs231n_notes").glob("*.jsonl")) for r in lines(p)],
        "sroie": ["\n".join(b["text"] for b in r["lines"]) for r in lines(data / "sroie_receipts" / "records.jsonl")],
        "crawl, text": [r.get("text") or r.get("raw_content") or "" for p in sorted(pages) for r in lines(p)],
        "crawl, WARC": [t for p in sorted(crawl.glob("*.warc.gz")) for t in page(p).split("WARC/1.0")],
        "html": [page(p) for p in sorted((data / "html_article_bench" / "html").glob("*.gz"))],
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--show", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    out = {}
    pii.find(pa.array(["warm"]))
    print("| set | texts | MB | MB/s |", " | ".join(pii.KINDS), "|")
    print("|---|---:|---:|---:|" + "---:|" * len(pii.KINDS))
    shown = []
    for name, texts in sets(given.data).items():
        if given.only and not any(o in name for o in given.only):
            continue
        column = pa.array(texts, pa.large_string())
        size = sum(len(t.encode()) for t in texts) / 1e6
        taken = []
        for _ in range(3):
            began = time.process_time()  # one thread's work, whoever else is busy
            hits = pii.find(column)
            taken.append(time.process_time() - began)
        count = Counter(pii.KINDS[k] for k in hits.kind)
        rate = size / float(np.median(taken))
        out[name] = {"texts": len(texts), "mb": round(size, 2), "mb_per_cpu_s": round(rate, 1), **count}
        print(f"| {name} | {len(texts)} | {size:.1f} | {rate:.0f} |", " | ".join(str(count[k]) for k in pii.KINDS), "|")
        for kind in count:
            mine = np.flatnonzero(hits.kind == pii.KINDS.index(kind)).tolist()
            for i in sorted(random.Random(0).sample(mine, min(given.show, len(mine)))):
                raw, a, b = texts[hits.text[i]].encode(), int(hits.start[i]), int(hits.stop[i])
                around = [raw[max(0, a - 30) : a], raw[a:b], raw[b : b + 15]]
                shown.append(f"{name} {kind}: " + " | ".join(repr(x.decode(errors="replace"))[1:-1] for x in around))
    print("\n".join(["", *shown]) if shown else "")
    print(json.dumps(out, sort_keys=True))


if __name__ == "__main__":
    main()
