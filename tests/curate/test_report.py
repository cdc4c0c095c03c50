import io
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from catalog.digests import sha256
from catalog.files import atomic
from catalog.judge import Rule
from catalog.ledger import write_chunk
from catalog.schema import CLUSTER, SAMPLE
from catalog.shards import TarWriter, shard_name, write_table
from catalog.store import DatasetVersion, SourceVersion, Store
from curate import report

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }} {% raw %}",
    "safe \u202egnp.exe\u202c \x00\x1b[31m",
    "javascript:alert(1) </style></title>",
    "&lt;b&gt; \ud7ff \U000e0041",
]
RULES = [
    Rule(stage="clip_score", fingerprint="f" * 16, score="clip_score", low=0.25),
    Rule(stage="image_size", fingerprint="e" * 16, score="shortest", low=32.0),
    Rule(stage="dedup_exact", fingerprint="d" * 16, score="signature", cluster=True),
]


def build(root: Path, rows: int, *, images: bool = True, more: int = 0) -> tuple[Store, DatasetVersion]:
    """Make a store with one source and one dataset version by hand, with `more` rules that drop every n-th sample."""
    store, rng = Store(root), np.random.default_rng(7)
    digest = sha256(f"source{rows}".encode())
    folder = store.source_dir("photos", digest)
    ids = [f"photos/{i:06d}" for i in range(rows)]
    media: list[list[dict[str, Any]]] = [[] for _ in ids]
    if images:
        with atomic(folder / "media" / shard_name(0, "tar")) as f:
            tar = TarWriter(f)
            for i in range(min(rows, 40)):
                out = io.BytesIO()
                Image.new("RGB", (300, 200), tuple(int(x) for x in rng.integers(0, 255, 3))).save(
                    out, "JPEG", comment=b"SECRET-COMMENT"
                )
                data = b"not an image" if i == 5 else out.getvalue()
                offset, size = tar.add(f"0-{i}.0.jpg", data)
                media[i] = [
                    {"kind": "image", "digest": sha256(data), "mime": "image/jpeg", "width": 300, "height": 200, "frames": None,
                     "duration": None, "shard": "media/00000.tar", "offset": offset, "size": size}
                ]  # fmt: skip
            tar.close()
    text = [HOSTILE[i % len(HOSTILE)] + f" number {i}" for i in range(rows)]
    table = pa.table(
        {
            "id": ids,
            "digest": [sha256(i.encode()) for i in ids],
            "source": ["photos"] * rows,
            "task": ["caption"] * rows,
            "license": ["CC0-1.0"] * rows,
            "messages": [[{"role": "user", "content": t}] for t in text],
            "media": media,
            "boxes": [[] for _ in ids],
            "meta": ["{}"] * rows,
        },
        schema=SAMPLE,
    )
    write_table(folder / "samples" / shard_name(0, "parquet"), table)
    source = SourceVersion(
        name="photos", digest=digest, layout=sha256(b"l"), role="train", license="<b>CC0</b>", shards=1, shard_rows=rows,
        rows=rows + 3, samples=rows, rejects=3, rejected={"bad_image": 2, "bad_json": 1}, tasks={"caption": rows},
        media={"image": rows}, spec={},
    )  # fmt: skip
    store.save_source(source, folder)

    clip = rng.normal(0.3, 0.08, rows)
    clip[0] = np.nan
    size = pl.Series(rng.integers(10, 500, rows)).cast(pl.Float64)
    copies = np.zeros(rows, bool)
    copies[2:6] = True
    keeps = [clip >= 0.25, (size >= 32).to_numpy(), ~copies]
    verdicts = []
    for rule, value, keep in zip(RULES, [pl.Series(clip), size, pl.Series([None] * rows)], keeps, strict=True):
        verdicts.append(
            pl.DataFrame({"value": value.cast(pl.Float64), "keep": keep}).with_columns(
                pl.lit(rule.low, pl.Float64).alias("low"),
                pl.lit(rule.high, pl.Float64).alias("high"),
                pl.lit(ids[1] if rule.cluster else None, pl.String).alias("match"),
            )
        )
    rules = [
        *RULES[:2],
        *(Rule(stage=f"rule_{n}", fingerprint="a" * 16, score="x", high=1.0) for n in range(more)),
        RULES[2],
    ]
    for n in range(more):
        value = np.where(np.arange(rows) % (n + 2) == 1, 2.0, np.arange(rows) / rows) if n % 2 else np.zeros(rows)
        keeps.insert(-1, value <= 1.0)
        verdict = pl.DataFrame({"value": value, "low": None, "high": 1.0, "keep": value <= 1.0, "match": None})
        verdicts.insert(-1, verdict.cast({"low": pl.Float64, "match": pl.String}))
    kept = int(np.logical_and.reduce(keeps).sum())
    dataset = DatasetVersion(
        name="clean", digest=sha256(f"dataset{rows}".encode()), recipe={"rules": [r.to_json() for r in rules]},
        sources=({"name": "photos", "digest": digest, "samples": rows, "rejects": 3, "kept": kept, "license": "<b>CC0</b>"},),
        counts={"rows": rows + 3, "rejected": 3, "dropped": rows - kept, "kept": kept}, ledger=sha256(b"led"),
        content=sha256(b"con"), volatile={"created_at": "2026-11-22T12:00:00Z", "engine": "local", "seconds": 12.5},
        decontamination=(
            {
                "filter": "decontaminate_text", "version": 3, "fingerprint": "0" * 16, "params": {}, "suite": sha256(b"s"),
                "bounds": {"overlap": {"max": "0.5"}}, "sources": [], "tasks": [], "total": rows, "looked_at": rows,
                "scored": rows, "broken": 0, "hits": 4, "removed": 4, "flagged": 0,
                "sets": [{"name": "bench", "digest": sha256(b"b"), "items": 9, "items_hit": 3, "removed": 4, "flagged": 0}],
            },
        ),
    )  # fmt: skip
    folder = store.dataset_dir("clean", dataset.version)
    heads = pl.DataFrame(
        {"id": ids, "digest": digest, "source": "photos", "task": "caption", "shard": 0, "row": range(rows)}
    )
    write_chunk(folder, 0, heads, rules, verdicts)
    cluster = [
        {"id": i, "cluster": ids[1], "rank": n, "similarity": 1.0, "keeper": ids[1]} for n, i in enumerate(ids[1:6])
    ]
    write_table(folder / "clusters" / "dedup_exact.parquet", pa.Table.from_pylist(cluster, CLUSTER))
    store.save_dataset(dataset, folder)
    return store, dataset


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("store")
    store, dataset = build(root, 200)
    return report.write(store, dataset, root / "report.html").read_text()


def test_the_page_is_inert_and_stands_alone(html: str) -> None:
    parser = _Tags()
    parser.feed(html)
    tags = {t for t, _ in parser.seen}
    assert not tags & {"script", "iframe", "object", "embed", "link", "form", "base", "b0"}
    for tag, attributes in parser.seen:
        assert not any(a.startswith("on") for a in attributes), (tag, attributes)
        for name in ("src", "href", "xlink:href", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:image/webp;base64,", "#")), value
    assert "default-src 'none'" in html
    assert "http://" not in html
    assert "https://" not in html


def test_text_is_shown_as_it_is(html: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7*7 }}" in html
    assert "[U+202E]" in html
    assert "[U+0000]" in html
    assert "\u202e" not in html
    assert "&lt;b&gt;CC0" in html


def test_pictures_are_made_anew_from_their_pixels(html: str) -> None:
    import base64

    found = re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", html)
    assert found
    for data in found:
        raw = base64.b64decode(data)
        assert b"SECRET" not in raw
        assert max(Image.open(io.BytesIO(raw)).size) <= report.THUMB


def test_it_holds_what_it_should(html: str) -> None:
    for wanted in (
        "rejected: bad_image", "keep 0.25 ≤ clip_score", "dedup_exact", "A cluster of 5", "Just kept by min 0.25",
        "Just dropped by min 32", "bench",
        "Dropped by nothing else", "Rules that agree most",
        "could not be computed", "matches photos/000001", "engine local", 'class="bound"', "<svg",
    ):  # fmt: skip
        assert wanted in html, wanted


def test_the_same_dataset_gives_the_same_page(tmp_path: Path) -> None:
    store, dataset = build(tmp_path, 50)
    a = report.write(store, dataset, tmp_path / "a.html").read_bytes()
    assert report.write(store, dataset, tmp_path / "b.html").read_bytes() == a


def test_no_gallery(tmp_path: Path) -> None:
    store, dataset = build(tmp_path, 50, images=False)
    assert report.write(store, dataset, tmp_path / "a.html", gallery=0).is_file()


def test_a_hundred_thousand_samples_take_seconds(tmp_path: Path) -> None:
    store, dataset = build(tmp_path, 100_000, images=False)
    began = time.monotonic()
    out = report.write(store, dataset, tmp_path / "report.html")
    took = time.monotonic() - began
    print(f"report of 100,000 samples: {took:.2f} s, {out.stat().st_size:,} bytes")
    assert took < 10


def test_forty_rules_stay_readable(tmp_path: Path) -> None:
    store, dataset = build(tmp_path, 300, more=40)
    html = report.write(store, dataset, tmp_path / "report.html").read_text()
    tags = _Tags()
    tags.feed(html)
    anchors = {a["id"] for _, a in tags.seen if "id" in a}
    links = {str(a["href"])[1:] for t, a in tags.seen if t == "a"}
    assert links <= anchors, links - anchors
    assert {f"s{n}" for n in range(1, 44)} <= anchors
    details = [a for t, a in tags.seen if t == "details"]
    assert len(details) == 43 + 1
    # Every second one of the forty drops nothing: told in one folded list, and its section is closed.
    idle = re.search(r"(\d+) rules drop nothing</summary>(.*?)</details>", html, re.DOTALL)
    assert idle
    assert idle[1] == "20"
    assert re.findall(r">(rule_\d+\.x)<", idle[2]) == [f"rule_{n}.x" for n in range(0, 40, 2)]
    matrix = html[html.index('id="overlap"') : html.index("Rules that agree most")]
    assert matrix.count("<td") == 23 * 23
    assert "rule_0.x" not in matrix
    assert html.index('id="sources"') < html.index('id="funnel"')
    assert 'class="dense"' in html


def test_the_matrix_of_overlaps_fits_a_page(tmp_path: Path) -> None:
    store, dataset = build(tmp_path, 300, more=80)
    html = report.write(store, dataset, tmp_path / "report.html").read_text()
    matrix = html[html.index('id="overlap"') : html.index("Rules that agree most")]
    assert "The 24 rules that drop most, of 43." in matrix
    assert matrix.count("<td") == 24 * 24
    # What drops most is in it, in the order of the recipe.
    alone = [int(n.replace(",", "")) for n in re.findall(r"<th>([\d,]+)</th></tr>", matrix)]
    funnel = html[html.index('id="funnel"') : html.index('class="idle"')]
    drops = [int(n.replace(",", "")) for n in re.findall(r"</a></td><td>([\d,]+)</td>", funnel)]
    assert sorted(alone, reverse=True) == sorted(drops, reverse=True)[:24]
    numbers = [int(n) for n in re.findall(r'<th title="[^"]*">(\d+)</th>', matrix)]
    assert numbers == sorted(numbers)


def test_bars_are_as_long_as_the_counts_beside_them(html: str) -> None:
    funnel = html[
        html.index('id="funnel"') : html.index("Rules by source")
        if "Rules by source" in html
        else html.index('id="overlap"')
    ]
    rows = re.findall(
        r'</a></td><td>([\d,]+)</td><td>([\d,]+)</td>.*?bar of" style="width:([\d.]+)%"><i style="width:([\d.]+)%"',
        funnel,
        re.DOTALL,
    )
    assert rows
    counts = [(int(a.replace(",", "")), int(f.replace(",", ""))) for a, f, *_ in rows]
    most = max(a for a, _ in counts)
    for (alone, first), (_, _, outer, inner) in zip(counts, rows, strict=True):
        assert float(outer) == pytest.approx(100 * alone / most, abs=0.01)
        assert float(inner) == pytest.approx(100 * first / alone, abs=0.01)


def test_both_sides_of_a_bound_are_shown_and_named(html: str) -> None:
    section = html[html.index('id="s1"') : html.index('id="s2"')]
    kept = section[section.index("Just kept") : section.index("Just dropped")]
    dropped = section[section.index("Just dropped") : section.index("Dropped by nothing else")]
    for part, word, sign in ((kept, "kept", 1), (dropped, "dropped", -1)):
        values = [float(v) for v in re.findall(rf"{word} · ([\d.]+)<", part)]
        assert len(values) == report.NEAR
        distances = [sign * (v - 0.25) for v in values]
        assert distances == sorted(distances), "nearest first"
        assert distances[0] >= 0


def test_overlap_counts_what_both_drop() -> None:
    keep = np.array([[0, 0, 1, 1, 0], [0, 1, 0, 1, 0], [1, 1, 1, 1, 1]], bool)
    assert report.overlap(keep).tolist() == [[3, 2, 0], [2, 3, 0], [0, 0, 0]]
    assert report.overlap(np.ones((0, 5), bool)).shape == (0, 0)
    many = np.zeros((2, 600_000), bool)
    many[1, ::3] = True
    assert report.overlap(many).tolist() == [[600_000, 400_000], [400_000, 400_000]]


@pytest.mark.parametrize(("share", "shown"), [(0, "0"), (0.004, "<1"), (0.5, "50"), (0.997, ">99"), (1, "100")])
def test_a_trace_is_not_nothing_and_nearly_all_is_not_all(share: float, shown: str) -> None:
    assert report._percent(share) == shown


def test_histogram_copes_with_odd_scores() -> None:
    one = np.array([3.0])
    assert "<svg" in report.histogram(one, np.array([True]), [])
    assert report.histogram(np.array([np.nan]), np.array([False]), [("min", 1.0)]) == ""
    assert "nan" not in report.histogram(
        np.array([0.0, np.inf, 1.0]), np.array([True, False, True]), [("min", 0.5), ("max", -np.inf)]
    )
