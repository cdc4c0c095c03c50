"""One SQLite file that lists what a store holds: `catalog.sqlite`, made from the records alone and safe to delete.

It remembers the name, size and time of every record that it was made from. When these no longer agree, when it is
damaged, or when it is not there, it is made again: a stale index never answers. Where the store cannot be written to,
it lives in memory and a note says so.
"""

import datetime
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog.digests import json_digest
from catalog.errors import UserError, nearest
from catalog.files import read_json, write_bytes
from catalog.store import SHORT, Store

KINDS = ("source", "dataset", "mixture", "run")

_FORMAT = 1  # raise it when the tables or what stands in them change
_RECORDS = {
    "source": ("sources/*/*/source.json",),
    "dataset": ("datasets/*/*/dataset.json",),
    "mixture": ("mixtures/*/*/mixture.lock.json",),
    "run": ("runs/*/run.json", "runs/*/config.json", "runs/*/experiment.json"),  # the first that a run has
}
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE entry (
    ref TEXT, kind TEXT, name TEXT, digest TEXT, created_at TEXT, samples INTEGER, detail TEXT, path TEXT, record TEXT,
    PRIMARY KEY (kind, ref)
);
CREATE TABLE uses (kind TEXT, ref TEXT, input_kind TEXT, input_ref TEXT);
"""
_HEX = re.compile(r"(?:sha256:)?([0-9a-f]{64})")

Row = dict[str, Any]


class Index:
    """What a store holds; every answer is a plain dict or a list of them."""

    def __init__(self, db: sqlite3.Connection, notes: tuple[str, ...] = ()) -> None:
        db.row_factory = sqlite3.Row
        self._db = db
        self.notes = (
            notes  # what a person should know: records that could not be read, an index that could not be saved
        )

    def ls(self, kind: str | None = None) -> list[Row]:
        """Return {kind, ref, created_at, samples, detail} of everything, or of one kind, by name and then by time."""
        kind = kind.removesuffix("s") if kind else None  # `datasets` as well as `dataset`
        if kind is not None and kind not in KINDS:
            msg = f"no kind `{kind}`{nearest(kind, KINDS)}"
            raise UserError(msg, usage=True)
        rows = self._db.execute(
            "SELECT kind, ref, created_at, samples, detail FROM entry WHERE ?1 IS NULL OR kind = ?1 "
            "ORDER BY instr('source dataset mixture run', kind), name, created_at, ref",
            (kind,),
        )
        return [dict(r) for r in rows]

    def show(self, ref: str) -> Row:
        """Return {kind, ref, path, record, inputs, used_by} of `name` (its latest version), `name@prefix` or a digest.

        A name that stands for things of several kinds takes the kind in front: `dataset:food`.
        """
        kind, colon, rest = ref.partition(":")
        if not colon or kind not in KINDS:
            kind, rest = "", ref
        name, at, version = rest.removeprefix("sha256:").partition("@")
        found = self._db.execute(
            "SELECT * FROM entry WHERE (?1 = '' OR kind = ?1) AND "
            "(ref = ?2 OR (name = ?3 AND (?4 = '' OR substr(ref, length(name) + 2, length(?4)) = ?4 "
            "OR substr(digest, 1, length(?4)) = ?4)) "
            "OR (?4 = '' AND length(?3) >= 8 AND substr(digest, 1, length(?3)) = ?3)) ORDER BY created_at, ref",
            (kind, rest, name, version),
        ).fetchall()
        kinds = sorted({r["kind"] for r in found})
        if len(kinds) > 1:
            msg = f"`{ref}` is {' and '.join(f'a {k}' for k in kinds)}"
            raise UserError(msg, hint=f"say which: `{kinds[0]}:{ref}`", usage=True)
        if not found:
            known = [r[0] for r in self._db.execute("SELECT ref FROM entry UNION SELECT name FROM entry")]
            msg = f"nothing here is called `{ref}`{nearest(rest, known)}"
            raise UserError(msg, hint="`cuvee catalog ls` lists what is there")
        if at and len(found) > 1 and not any(r["ref"] == rest for r in found):
            several = ", ".join(f"`{r['ref']}`" for r in found)
            msg = f"`{ref}` is the beginning of {several}"
            raise UserError(msg, hint="write more of it", usage=True)
        row = next((r for r in found if r["ref"] == rest), found[-1])
        key = (row["kind"], row["ref"])
        return {
            "kind": row["kind"],
            "ref": row["ref"],
            "path": row["path"],
            "record": json.loads(row["record"]),
            "inputs": self._refs(
                "SELECT input_kind, input_ref FROM uses WHERE kind = ? AND ref = ? ORDER BY 1, 2", key
            ),
            "used_by": self._refs(
                "SELECT kind, ref FROM uses WHERE input_kind = ? AND input_ref = ? ORDER BY 1, 2", key
            ),
        }

    def search(self, text: str) -> list[Row]:
        """Return, like `ls`, what holds every word of `text` somewhere in its record."""
        words = [w.casefold() for w in text.split()]
        hits = {
            (r["kind"], r["ref"])
            for r in self._db.execute("SELECT kind, ref, record FROM entry")
            if all(w in f"{r['ref']} {r['record']}".casefold() for w in words)
        }
        return [r for r in self.ls() if (r["kind"], r["ref"]) in hits]

    def _refs(self, query: str, key: tuple[str, str]) -> list[Row]:
        return [{"kind": k, "ref": r} for k, r in self._db.execute(query, key)]


def open_index(store: Store) -> Index:
    """Return the store's index, made again when it is missing, damaged or older than what it lists."""
    if not store.root.is_dir():
        msg = f"no store at `{store.root}`"
        raise UserError(msg, hint="`cuvee ingest` or `cuvee demo` makes one")
    try:
        db = sqlite3.connect(":memory:")
        db.deserialize((store.root / "catalog.sqlite").read_bytes())
        meta = dict(db.execute("SELECT key, value FROM meta"))
        if meta.get("stamp") == _stamp(store) and meta.get("rows") == _rows_digest(db):
            return Index(db, tuple(json.loads(meta["notes"])))
    except (OSError, MemoryError, sqlite3.Error, KeyError, ValueError):  # an empty file is a `MemoryError`
        pass
    return rebuild(store)


def rebuild(store: Store) -> Index:
    """Make the index from the files alone and save it; in a store that is read-only it stays in memory."""
    stamp = _stamp(store)  # before the records are read: what changes meanwhile makes the index stale, not wrong
    db = sqlite3.connect(":memory:")
    db.executescript(_TABLES)
    notes = []
    for kind, path in _records(store):
        try:
            db.execute("INSERT INTO entry VALUES (?,?,?,?,?,?,?,?,?)", _entry(store, kind, path))
        except (UserError, KeyError, TypeError, AttributeError, ValueError) as e:
            notes.append(f"left out `{path.relative_to(store.root)}`: {str(e).splitlines()[0]}")
    _link(db)
    meta = {"stamp": stamp, "rows": _rows_digest(db), "notes": json.dumps(notes)}
    db.executemany("INSERT INTO meta VALUES (?,?)", meta.items())
    db.commit()
    try:
        write_bytes(store.root / "catalog.sqlite", db.serialize())
    except UserError as e:
        notes.append(f"the index is in memory only: {e.message}")
    return Index(db, tuple(notes))


def _records(store: Store) -> Iterator[tuple[str, Path]]:
    for kind, patterns in _RECORDS.items():
        seen = set()
        for pattern in patterns:
            for path in sorted(store.root.glob(pattern)):
                if path.parent not in seen and not any(p.startswith(".") for p in path.relative_to(store.root).parts):
                    seen.add(path.parent)
                    yield kind, path


def _stamp(store: Store) -> str:
    found = []
    for _, path in _records(store):
        stat = path.stat()
        found.append([path.relative_to(store.root).as_posix(), str(stat.st_size), str(stat.st_mtime_ns)])
    return json_digest([_FORMAT, found])


def _rows_digest(db: sqlite3.Connection) -> str:
    """Return the digest of all rows: a flipped bit in the file is a damaged index, not a wrong answer."""
    rows = [list(map(str, r)) for t in ("entry", "uses") for r in db.execute(f"SELECT * FROM {t} ORDER BY 1, 2, 3, 4")]
    return json_digest(rows)


def _entry(store: Store, kind: str, path: Path) -> tuple[Any, ...]:
    raw = read_json(path)
    volatile = raw.get("volatile") or {}
    folder = path.parent
    samples: Any = None
    if kind == "source":
        name, digest, samples = raw["name"], raw["digest"], raw["samples"]
        ref = f"{name}@{digest[:SHORT]}"
        detail = f"{raw['role']}, {raw['license']}, {raw['rejects']:,} rejected"
    elif kind == "dataset":
        name, digest, samples = raw["name"], raw["digest"], raw["counts"]["kept"]
        ref = f"{name}@{digest[:SHORT]}"
        detail = f"kept of {raw['counts']['rows']:,} rows from {len(raw['sources'])} sources"
    elif kind == "mixture":
        name, digest = raw["name"], str(raw["id"]).removeprefix("sha256:")
        ref = f"{name}@{raw['version']}"
        samples = (raw.get("budget") or {}).get("samples")
        detail = f"{len(raw['sources'])} components, unit {raw.get('unit', 'samples')}"
    else:
        name = ref = folder.name
        digest = str(raw.get("id", ""))
        detail = ", ".join(str(raw[k]) for k in ("model", "arch", "variant", "status") if isinstance(raw.get(k), str))
    created = str(volatile.get("created_at") or raw.get("created_at") or "")
    if not created:
        moment = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
        created = moment.isoformat(timespec="seconds")
    number = int(samples) if isinstance(samples, int | str) and str(samples).isdigit() else None
    where = folder.relative_to(store.root).as_posix()
    return (ref, kind, name, digest, created, number, detail, where, json.dumps(raw, sort_keys=True))


def _link(db: sqlite3.Connection) -> None:
    """Connect records through the digests that they name: a record uses what its text names by digest."""
    entries = db.execute("SELECT kind, ref, digest, record FROM entry").fetchall()
    known: dict[str, tuple[str, str]] = {}
    for kind, ref, digest, record in entries:
        known.setdefault(str(json.loads(record).get("content", "")), (kind, ref))
        known[digest] = (kind, ref)
    for kind, ref, digest, record in entries:
        named = {known[d] for d in _HEX.findall(record) if d in known and d != digest}
        for input_kind, input_ref in sorted(named):
            if KINDS.index(input_kind) < KINDS.index(kind):
                db.execute("INSERT INTO uses VALUES (?,?,?,?)", (kind, ref, input_kind, input_ref))
