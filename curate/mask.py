"""Masking: a source version becomes another one in which personal data and secrets are placeholders (`<EMAIL>`, `<PHONE>`, ..).

What is found is what the filter `pii` counts (`filters/shared/pii.py`), in messages, in the texts of boxes, in `meta` and in the
messages of rejects. Samples in = samples out, in the same shards and order. Everything else stays: locators, tasks, licences,
roles, media to the byte. A sample's digest is that of its new content; its id is `<name>/<locator>`, so a version masked under
the source's own name (the default) keeps all its ids.

The new version's `spec` says from which version it was made, by which rules, and how many hits of each kind were replaced.

A media tar carries the messages beside the pictures, so it is written again when any message or the name changes; otherwise it
is hard-linked. One task makes one shard, samples last: a shard whose samples are there is complete, as in `curate/ingest.py`,
and a killed run goes on where it was. What an id or a locator says is not masked.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.digests import file_digest, fingerprint, layout_digest, sample_digest
from catalog.errors import UserError, nearest
from catalog.files import alone, publish, read_json, remove, sweep, write_json
from catalog.schema import REJECT, SAMPLE
from catalog.shards import read_table, shard_name, write_table
from catalog.store import SourceVersion, Store
from curate.engines.base import Engine
from curate.rewrite import bring_tar, check_name, renamed, version_digest
from filters.base import load
from filters.shared import pii

RULES = (
    1  # raise it when the same version would give other bytes for another reason than the `pii` filter's own version
)
PLACES = ("messages", "boxes", "meta")
METAS = ("mask", "drop", "keep")


def mask(
    store: Store,
    source_version: SourceVersion,
    *,
    kinds: Sequence[str],
    name: str | None = None,
    meta: str = "mask",
    engine: Engine,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SourceVersion:
    """Write the masked version of `source_version` as source `name` (default: its own) and return it.

    `kinds` are those of `filters/shared/pii.py`; `meta` is masked, dropped or kept as it is. `progress` hears (samples done,
    samples in all). The same version and arguments give the same bytes, whichever engine runs it. Where nothing is found
    under the source's own name, the content is the same, and so is the version: `source_version` itself comes back.
    """
    kinds = tuple(k for k in pii.KINDS if k in _checked(kinds))
    if meta not in METAS:
        msg = f"`meta` is `{meta}`{nearest(meta, METAS)}"
        raise UserError(msg, usage=True)
    name = name or source_version.name
    check_name(name)
    rules = load("pii").fingerprint
    asked = {"as": name, "kinds": list(kinds), "meta": meta, "filter": rules, "rules": RULES}
    key = fingerprint({"of": source_version.digest, "layout": source_version.layout, **asked})
    home = store.root / "sources" / name
    with alone(home):
        record = home / "masks" / f"{key}.json"
        known = _known(store, name, record)
        if known is not None:
            progress(known.samples, known.samples)
            return known
        return _make(store, source_version, name, kinds, meta, key, rules, engine, progress)


def _checked(kinds: Sequence[str]) -> Sequence[str]:
    for kind in kinds:
        if kind not in pii.KINDS:
            msg = f"no kind of personal data named `{kind}`{nearest(kind, pii.KINDS)}"
            raise UserError(msg, usage=True)
    if not kinds:
        msg = "nothing to mask: name at least one kind"
        raise UserError(msg, hint=f"`--kinds {','.join(k for k in pii.KINDS if k != 'ip_local')}`", usage=True)
    return kinds


def _known(store: Store, name: str, record: Path) -> SourceVersion | None:
    if not record.exists():
        return None
    digest = str(read_json(record)["digest"])
    if not (store.source_dir(name, digest) / "source.json").exists():
        return None
    return store.source(f"{name}@{digest}")


def _make(
    store: Store,
    old: SourceVersion,
    name: str,
    kinds: tuple[str, ...],
    meta: str,
    key: str,
    rules: str,
    engine: Engine,
    progress: Callable[[int, int], None],
) -> SourceVersion:
    began = time.time()
    home = store.root / "sources" / name
    work = home / ".work" / f"mask-{key}"
    folder = (work / "version").absolute()
    sweep(work)
    before = store.source_dir(old.name, old.digest).absolute()
    task = _MaskShard(before=before, folder=folder, old=old.name, name=name, kinds=kinds, meta=meta)
    shards: list[dict[str, Any]] = []
    done = 0
    for made in engine.map(task, range(old.shards)):
        shards.append(made)
        done += made["samples"]
        progress(done, old.samples)
    shards.sort(key=lambda s: s["number"])
    samples, rejects = sum(s["samples"] for s in shards), sum(s["rejects"] for s in shards)
    if (len(shards), samples, rejects) != (old.shards, old.samples, old.rejects):
        msg = (
            f"`{old.ref}` does not add up: {old.samples} samples and {old.rejects} rejects in its record, "
            f"{samples} and {rejects} in its shards"
        )
        raise UserError(msg, hint="its shards were changed after ingest: ingest it again")
    places = {p: sum((Counter(s["hits"][p]) for s in shards), Counter()) for p in PLACES}
    version = replace(
        old,
        name=name,
        digest=version_digest(folder, old),
        layout=layout_digest((n, size, d) for s in shards for n, size, d in s["files"]),
        spec={
            "format": "mask",
            "of": old.ref,
            "digest": old.digest,
            "kinds": list(kinds),
            "meta": meta,
            "filter": f"pii@{rules}",
            "hits": {k: sum(found[k] for found in places.values()) for k in kinds},
            "hits_in": {
                p: {k: found[k] for k in kinds} for p, found in places.items()
            },  # the filter counts messages only
            "changed": sum(s["changed"] for s in shards),
        },
        volatile={
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            "seconds": round(time.time() - began, 3),
            "engine": engine.name,
            "workers": engine.workers,
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    store.save_source(version, folder)
    publish(folder, store.source_dir(name, version.digest))
    write_json(home / "masks" / f"{key}.json", {"digest": version.digest})
    remove(work)
    return store.source(f"{name}@{version.digest}")


@dataclass(frozen=True, kw_only=True)
class _MaskShard:
    """The task: makes one shard of the new version from one of the old, or finds it made, and says what is in it."""

    before: Path
    folder: Path
    old: str
    name: str
    kinds: tuple[str, ...]
    meta: str

    def __call__(self, number: int) -> dict[str, Any]:
        shard = shard_name(number, "parquet")
        note = self.folder.parent / "done" / shard_name(number, "json")
        if not note.exists():
            write_json(note, self._make(number))
        files = [self.folder / "samples" / shard, self.folder / "rejects" / shard]
        tar = self.folder / "media" / shard_name(number, "tar")
        files += [tar] if tar.exists() else []
        listed = [(p.relative_to(self.folder).as_posix(), p.stat().st_size, file_digest(p)) for p in files]
        return {"number": number, **read_json(note), "files": listed}

    def _make(self, number: int) -> dict[str, Any]:
        shard = shard_name(number, "parquet")
        table = read_table(self.before / "samples" / shard)
        rows = table.to_pylist()
        said = [m["content"] for row in rows for m in row["messages"] or []]
        written = [b["text"] for row in rows for b in row["boxes"] or []]
        metas = [row["meta"] for row in rows]
        texts, log = pii.mask(pa.array(said + written, pa.large_string()), self.kinds)
        new = texts.to_pylist()
        extra, extra_log = self._metas(metas)
        boxed = log[:, 0] >= len(said)
        places = {"messages": log[~boxed, 1], "boxes": log[boxed, 1], "meta": extra_log}
        hits = {where: dict(Counter(pii.KINDS[k] for k in found.tolist())) for where, found in places.items()}

        message, box = iter(new[: len(said)]), iter(new[len(said) :])
        out = []
        changed = retold = 0
        for row, about in zip(rows, extra, strict=True):
            messages = [{**m, "content": next(message)} for m in row["messages"] or []]
            boxes = [{**b, "text": next(box)} for b in row["boxes"] or []]
            moved = messages != row["messages"] and bool(row["messages"])
            retold += moved
            changed += moved or boxes != (row["boxes"] or []) or about != row["meta"]
            masked = {
                **row,
                "id": renamed(row["id"], self.old, self.name),
                "source": self.name,
                "messages": messages,
                "boxes": boxes,
                "meta": about,
            }
            masked["digest"] = sample_digest(messages, row["media"] or [], boxes)
            out.append(masked)
        bring_tar(self.before, self.folder, number, out if retold or self.name != self.old else None)
        rejects = read_table(self.before / "rejects" / shard)
        told, _ = pii.mask(rejects["message"].combine_chunks().cast(pa.large_string()), self.kinds)
        plain = [
            {**r, "source": self.name, "message": m} for r, m in zip(rejects.to_pylist(), told.to_pylist(), strict=True)
        ]
        write_table(self.folder / "rejects" / shard, pa.Table.from_pylist(plain, schema=REJECT))
        write_table(self.folder / "samples" / shard, pa.Table.from_pylist(out, schema=SAMPLE))
        return {
            "samples": len(out),
            "rejects": len(plain),
            "changed": changed,
            "hits": hits,
        }

    def _metas(self, metas: list[str]) -> tuple[list[str], Any]:
        """Return the metas masked (or dropped, or kept) and the kinds of what was replaced."""
        nothing = np.zeros(0, np.int64)
        if self.meta != "mask":
            return ["{}"] * len(metas) if self.meta == "drop" else metas, nothing
        out = list(metas)
        parsed = {}
        for i, m in enumerate(metas):
            if m and m != "{}":
                try:
                    parsed[i] = json.loads(m)
                except (ValueError, RecursionError):  # not written by us: what cannot be read cannot be masked
                    out[i] = "{}"
        texts = [t for value in parsed.values() for t in _strings(value, "")]
        masked, log = pii.mask(pa.array(texts, pa.large_string()), self.kinds)
        answers = iter(zip(texts, masked.to_pylist(), strict=True))
        for i, value in parsed.items():
            again = _replaced(value, "", answers)
            if again != value:  # untouched JSON stays as it was written
                out[i] = json.dumps(again, ensure_ascii=False)
        return out, log[:, 1]


# What a key says belongs to its value: `phone` and `password` tell what a bare string is. So it is looked at as `key: value`.


def _strings(value: Any, key: str) -> Iterator[str]:
    """Yield every text of a JSON value, in a fixed order: keys, and scalars after their keys."""
    if isinstance(value, dict):
        for k, v in value.items():
            yield k
            yield from _strings(v, k)
    elif isinstance(value, list):
        for v in value:
            yield from _strings(v, key)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield f"{key}: {value}"


def _replaced(value: Any, key: str, answers: Iterator[tuple[str, str]]) -> Any:
    """Return the JSON value with the masked texts in place; a number that was a hit becomes its placeholder."""
    if isinstance(value, dict):
        out = {}
        for k, v in value.items():
            _, new = next(answers)
            while new != k and (new in out or new in value):  # two e-mail addresses as keys stay two keys
                new += "_"
            out[new] = _replaced(v, k, answers)
        return out
    if isinstance(value, list):
        return [_replaced(v, key, answers) for v in value]
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        old, new = next(answers)
        head = f"{key}: "
        # Where the key itself was a hit, its part ends at the first colon: no placeholder has one.
        tail = new.removeprefix(head) if new.startswith(head) else new.partition(": ")[2] or new
        return value if tail == old.removeprefix(head) else tail
    return value
