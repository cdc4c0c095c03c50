"""Small stores, made by hand: what ingest and a recipe would have left on disk."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from catalog.digests import content_digest, file_digest, json_digest, layout_digest, sample_digest, sha256
from catalog.files import atomic
from catalog.schema import KEPT, SAMPLE
from catalog.shards import TarWriter, shard_name, write_table
from catalog.store import DatasetVersion, SourceVersion, Store


def jpeg(seed: int, size: int = 16) -> bytes:
    rng = np.random.default_rng(seed)
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(out, "JPEG", quality=80)
    return out.getvalue()


def sample(source: str, n: int, *, image: bytes | None = None, words: int = 3, task: str = "caption") -> dict[str, Any]:
    text = " ".join(f"w{n}x{k}" for k in range(words))
    content = f"<image>\n{text}" if image is not None else text
    media = []
    if image is not None:
        media.append({"kind": "image", "digest": sha256(image), "mime": "image/jpeg", "data": image})
    return {
        "id": f"{source}/{n:06d}",
        "source": source,
        "task": task,
        "license": "CC-BY-4.0" if n % 2 else "unknown",
        "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "yes"}],
        "media": media,
        "boxes": [],
        "meta": "{}",
    }


def samples(source: str, count: int, *, images: bool = True, first: int = 0) -> list[dict[str, Any]]:
    tasks = ("caption", "vqa", "ocr")
    return [
        sample(
            source,
            n,
            image=b"\xff\xd8" + f"{source}{n}".encode() if images else None,
            words=1 + n % 5,
            task=tasks[n % 3],
        )
        for n in range(first, first + count)
    ]


def add_source(store: Store, name: str, rows: Sequence[dict[str, Any]], *, shard_rows: int = 7) -> SourceVersion:
    rows = [{**r, "digest": sample_digest(r["messages"], r["media"], r["boxes"])} for r in rows]
    digest = content_digest((r["id"], r["digest"]) for r in rows)
    folder = store.source_dir(name, digest)
    files, shards = [], -(-len(rows) // shard_rows)
    for number in range(shards):
        part = rows[number * shard_rows : (number + 1) * shard_rows]
        tar = f"media/{shard_name(number, 'tar')}"
        table_rows = []
        with atomic(folder / tar) as f:
            writer = TarWriter(f)
            for i, row in enumerate(part):
                media = []
                for k, m in enumerate(row["media"]):
                    offset, size = writer.add(f"{number:05d}-{i:05d}.{k}.jpg", m["data"])
                    where = {"shard": tar, "offset": offset, "size": size}
                    media.append({k: v for k, v in m.items() if k != "data"} | where)
                table_rows.append({**row, "media": media})
            writer.close()
        path = folder / "samples" / shard_name(number, "parquet")
        write_table(path, pa.Table.from_pylist(table_rows, SAMPLE))
        files += [(str(p.relative_to(folder)), p.stat().st_size, file_digest(p)) for p in (folder / tar, path)]
    version = SourceVersion(
        name=name, digest=digest, layout=layout_digest(files), role="train", license="CC-BY-4.0", shards=shards,
        shard_rows=shard_rows, rows=len(rows), samples=len(rows), rejects=0, rejected={}, tasks={}, media={}, spec={},
        volatile={"created_at": "2026-01-01"},
    )  # fmt: skip
    store.save_source(version, folder)
    return version


def add_dataset(
    store: Store, name: str, sources: Sequence[SourceVersion], *, drop: Sequence[str] = (), bound: str = "0.3"
) -> DatasetVersion:
    """Keep every sample but those in `drop`."""
    kept: dict[str, list[tuple[int, pa.Table]]] = {}
    pairs: list[tuple[str, str]] = []
    records = []
    for s in sources:
        parts = []
        for shard in range(s.shards):
            table = store.samples(s, shard)
            ids = table["id"].to_pylist()
            rows = [i for i, id_ in enumerate(ids) if id_ not in drop]
            part = {n: table[n].take(pa.array(rows, pa.int64())) for n in ("id", "digest", "source", "task")}
            part |= {"shard": pa.array([shard] * len(rows), pa.int32()), "row": pa.array(rows, pa.int32())}
            parts.append((shard, pa.table(part).select(KEPT.names).cast(KEPT)))
            pairs += zip(part["id"].to_pylist(), part["digest"].to_pylist(), strict=True)
        kept[s.name] = parts
        count = sum(t.num_rows for _, t in parts)
        records.append(
            {
                "name": s.name,
                "digest": s.digest,
                "samples": s.samples,
                "rejects": 0,
                "kept": count,
                "license": s.license,
            }
        )
    rows = sum(s.rows for s in sources)
    stage = {"filter": "clip_score", "version": 1, "fingerprint": "0123456789abcdef", "params": {}}
    rule = {"stage": "clip_score", "fingerprint": "0123456789abcdef", "score": "clip_score", "min": bound}
    version = DatasetVersion(
        name=name,
        digest="",
        recipe={"stages": [stage], "rules": [rule]},
        sources=tuple(records),
        counts={"rows": rows, "rejected": 0, "dropped": rows - len(pairs), "kept": len(pairs)},
        ledger=sha256(f"{name}{bound}{sorted(drop)}".encode()),
        content=content_digest(pairs),
        decontamination=(),
        volatile={"created_at": f"2026-01-{len(store.datasets()) + 1:02d}"},
    )
    raw = {k: v for k, v in asdict(version).items() if k not in ("digest", "volatile")}
    digest = json_digest(json.loads(json.dumps(raw)))
    version = DatasetVersion(**{**version.__dict__, "digest": digest})
    folder = store.dataset_dir(name, version.version)
    for source, parts in kept.items():
        for shard, table in parts:
            write_table(folder / "kept" / source / shard_name(shard, "parquet"), table)
    store.save_dataset(version, folder)
    return version


def tiny_store(root: Path, *, shard_rows: int = 7) -> Store:
    """Two datasets: `scenes` (sources photos, charts; 23 + 10 samples with images) and `prose` (17 samples of text)."""
    store = Store(root)
    photos = add_source(store, "photos", samples("photos", 25), shard_rows=shard_rows)
    charts = add_source(store, "charts", samples("charts", 10), shard_rows=shard_rows)
    prose = add_source(store, "prose", samples("prose", 17, images=False), shard_rows=shard_rows)
    add_dataset(store, "scenes", [photos, charts], drop=("photos/000003", "photos/000011"))
    add_dataset(store, "prose", [prose])
    return store


TINY = """
schema: mixture/1
name: tiny
version: 1.0.0
unit: samples
budget: {samples: 100}
seed: 7
policy: {name: proportional}
sources:
  - {ref: scenes, source: photos, name: photos, weight: auto}
  - {ref: scenes, source: charts, name: charts, weight: "0.25", max_epochs: "1.5"}
  - {ref: prose, weight: "0.35"}
"""
