"""Ingest: a source as it is given becomes an immutable source version in the store.

The reader cuts the input into slices of a fixed number of rows; one slice becomes one shard, written by one task: media tar,
then rejects, then samples. A shard whose samples are there is complete and is never read again. When all are there,
the folder gets its `source.json` and is renamed to the name of its digest.

    sources/<name>/.work/<key>/plan.json, version/    unfinished
    sources/<name>/ingests/<key>.json                 which version this very input gave: asked again, nothing is read

`key` covers the spec, the cut, and name, size and time of every input file.
"""

import contextlib
import io
import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from catalog.digests import content_digest, file_digest, fingerprint, layout_digest, sample_digest, sha256
from catalog.errors import UserError, nearest, unknown_keys
from catalog.files import atomic, publish, read_json, remove, sweep, write_bytes, write_json
from catalog.schema import REJECT, REJECT_CODES, SAMPLE, TASKS
from catalog.shards import EXTENSIONS, TarWriter, read_table, shard_name, write_table
from catalog.store import SourceVersion, Store
from curate.engines.base import Engine
from curate.sources import base

RULES = 1  # raise it when the same input would give other samples
SHARD_ROWS = 1000
MAX_PIXELS = 64_000_000
ALLOWED = {
    "JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp",
    "GIF": "image/gif", "BMP": "image/bmp", "TIFF": "image/tiff",
}  # fmt: skip
STORED = "stored"
ROLES = ("train", "eval", "fit")  # eval: decontaminated against, never trained on; fit: only fits models
_NAME = "letters, digits, `_`, `-` and `.`, beginning with a letter or digit"


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """What to ingest: a recipe's entry under `sources`. With format `stored` nothing is read: it names a version in the store."""

    name: str
    format: str
    params: Mapping[str, Any] = field(default_factory=dict)  # the format's own: path, images, fields, prompt, ..
    task: str = "other"
    license: str = "unknown"
    role: str = "train"

    def __post_init__(self) -> None:
        if (
            not self.name
            or not all(c.isascii() and (c.isalnum() or c in "_-.") for c in self.name)
            or not self.name[0].isalnum()
        ):
            msg = f"`{self.name}` cannot name a source: use {_NAME}"
            raise UserError(msg, usage=True)
        if not isinstance(self.license, str):
            msg = f"`license` of source `{self.name}` must be text, got `{self.license}`"
            raise UserError(msg, usage=True)
        for what, value, known in (("task", self.task, TASKS), ("role", self.role, ROLES)):
            if value not in known:
                msg = f"source `{self.name}`: unknown {what} `{value}`{nearest(str(value), known)}"
                raise UserError(msg, usage=True)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "SourceSpec":
        """Return the spec of one entry of a recipe: {name, format, path, task, license, role, <the format's own>}."""
        own: tuple[str, ...] = ("task", "license", "role")
        for key in ("name", "format"):
            if not isinstance(entry.get(key), str):
                msg = f"a source needs `{key}`: {json.dumps(dict(entry), default=str)[:120]}"
                raise UserError(msg, usage=True)
        theirs = ["version"] if entry["format"] == STORED else base.parameters(entry["format"])
        own = ("role",) if entry["format"] == STORED else own  # a stored sample has its task and licence already
        known = [*theirs, *own, "name", "format"]
        unknown_keys(entry, known, f"source `{entry['name']}`")
        params = {k: v for k, v in entry.items() if k not in (*own, "name", "format")}
        return cls(
            name=entry["name"], format=entry["format"], params=params, **{k: entry[k] for k in own if k in entry}
        )

    def reader(self, data: Path) -> base.SourceReader:
        """Return the reader of this source, with relative paths starting at `data`."""
        return base.load(self.format, self.params, data)


def image_facts(data: bytes, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """Return kind, mime, width, height and frames of an image after decoding all of it; raise `base.Bad` if it cannot be.

    What it is says its bytes, not its name. Only raster formats that Pillow decodes itself are allowed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that `max_pixels` judges
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")) as image:
                width, height = image.size
                _within(width * height, max_pixels)
                frames = int(getattr(image, "n_frames", 1))
                mime = ALLOWED[str(image.format)]
                # A JPEG is read to its last byte at 1/8 of its size just the same: only the colours are not computed.
                image.draft(None, (1, 1))
                image.load()
                if frames > 1 and image.format != "MPO":
                    _within(width * height * frames, 4 * max_pixels)
                    for number in range(1, frames):
                        image.seek(number)
                        _within(image.size[0] * image.size[1], max_pixels)
                        image.load()
                else:
                    frames = 1
    except base.Bad:
        raise
    except Image.DecompressionBombError:
        raise base.Bad(code="bomb", message="more pixels than Pillow decodes") from None
    except UnidentifiedImageError:
        raise base.Bad(code="bad_image", message=f"no image: {_looks_like(data)}") from None
    except Exception as e:
        raise base.Bad(code="bad_image", message=f"does not decode: {type(e).__name__}") from None
    return {"kind": "image", "mime": mime, "width": width, "height": height, "frames": frames if frames > 1 else None}


def _within(pixels: int, limit: int) -> None:
    if pixels > limit:
        raise base.Bad(code="bomb", message=f"{pixels} pixels; the limit is {limit}")


def _looks_like(data: bytes) -> str:
    head = data[:256].lstrip().lower()
    if not data:
        return "it is empty"
    if head.startswith((b"<?xml", b"<svg")):
        return "it looks like SVG or XML"
    if head.startswith((b"<!doctype", b"<html")):
        return "it looks like HTML"
    if head.startswith(b"%pdf"):
        return "it looks like PDF"
    return "not one of JPEG, PNG, WEBP, GIF, BMP, TIFF"


@dataclass(frozen=True, kw_only=True)
class _WriteShard:
    """The task: makes one shard from one slice, or finds it made, and says what is in it."""

    spec: SourceSpec
    data: Path
    folder: Path
    max_pixels: int

    def __call__(self, piece: base.Slice) -> dict[str, Any]:
        number = piece.number
        if not (self.folder / "samples" / shard_name(number, "parquet")).exists():
            self._make(piece)
        return self._summary(piece)

    def _make(self, piece: base.Slice) -> None:
        samples: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        tar_name = f"media/{shard_name(piece.number, 'tar')}"
        with contextlib.ExitStack() as stack:
            tar: TarWriter | None = None
            for outcome in self.spec.reader(self.data).read(piece):
                if isinstance(outcome, base.Draft):
                    try:
                        facts = [image_facts(image, self.max_pixels) for image in outcome.images]
                    except base.Bad as e:
                        outcome = base.Reject(locator=outcome.locator, code=e.code, message=e.message)
                if isinstance(outcome, base.Reject):
                    rejects.append({"source": self.spec.name, **asdict(outcome)})
                    continue
                if facts and tar is None:
                    tar = TarWriter(stack.enter_context(atomic(self.folder / tar_name)))
                samples.append(self._sample(outcome, facts, tar, tar_name, f"{piece.number:05d}-{len(samples):05d}"))
            if tar is not None:
                tar.close()
        if len(samples) + len(rejects) != piece.rows:
            msg = (
                f"source `{self.spec.name}`, slice {piece.number}: {piece.rows} rows were found but {len(samples)} samples "
                f"and {len(rejects)} rejects came of them"
            )
            raise UserError(
                msg, hint="the input changed while it was read, or the format's reader is broken: run it again"
            )
        name = shard_name(piece.number, "parquet")
        write_table(self.folder / "rejects" / name, pa.Table.from_pylist(rejects, schema=REJECT))
        write_table(self.folder / "samples" / name, pa.Table.from_pylist(samples, schema=SAMPLE))

    def _sample(
        self, draft: base.Draft, facts: list[dict[str, Any]], tar: TarWriter | None, tar_name: str, key: str
    ) -> dict[str, Any]:
        id_ = f"{self.spec.name}/{draft.locator}"
        media = []
        for n, (image, fact) in enumerate(zip(draft.images, facts, strict=True)):
            assert tar is not None
            offset, size = tar.add(f"{key}.{n}.{EXTENSIONS[fact['mime']]}", image)
            media.append(
                {**fact, "digest": sha256(image), "duration": None, "shard": tar_name, "offset": offset, "size": size}
            )
        if tar is not None and media:
            beside = {"id": id_, "messages": list(draft.messages)}
            tar.add(f"{key}.json", json.dumps(beside, ensure_ascii=False, sort_keys=True).encode())
        return {
            "id": id_,
            "digest": sample_digest(draft.messages, media, draft.boxes),
            "source": self.spec.name,
            "task": draft.task or self.spec.task,
            "license": draft.license or self.spec.license,
            "messages": list(draft.messages),
            "media": media,
            "boxes": list(draft.boxes),
            "meta": draft.meta,
        }

    def _summary(self, piece: base.Slice) -> dict[str, Any]:
        name = shard_name(piece.number, "parquet")
        samples = read_table(self.folder / "samples" / name, ["task", "media"])
        rejects = read_table(self.folder / "rejects" / name, ["code"])
        kinds = Counter(m["kind"] for row in samples["media"].to_pylist() for m in row)
        paths = [self.folder / "samples" / name, self.folder / "rejects" / name]
        paths += [self.folder / "media" / shard_name(piece.number, "tar")] if kinds else []
        return {
            "number": piece.number,
            "rows": piece.rows,
            "samples": samples.num_rows,
            "rejects": rejects.num_rows,
            "rejected": dict(Counter(rejects["code"].to_pylist())),
            "tasks": dict(Counter(samples["task"].to_pylist())),
            "media": dict(kinds),
            "files": [(p.relative_to(self.folder).as_posix(), p.stat().st_size, file_digest(p)) for p in paths],
        }


def ingest(
    store: Store,
    spec: SourceSpec,
    *,
    engine: Engine,
    data: Path,
    shard_rows: int = SHARD_ROWS,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
) -> SourceVersion:
    """Read `spec` into `store` and return its version; `progress` hears (rows done, rows in all) after every shard.

    A source of format `stored` is there already, a masked version for instance.

    The same input gives the same digests with any engine and any number of workers, however often it was killed on the way.
    """
    if shard_rows < 1 or max_pixels < 1:
        msg = "`shard_rows` and `max_pixels` must be at least 1"
        raise UserError(msg, usage=True)
    if spec.format == STORED:
        return _stored(store, spec)
    began = time.time()
    data = Path(data).absolute()
    home = store.root / "sources" / spec.name
    reader = spec.reader(data)
    key = _key(spec, reader, shard_rows, max_pixels)
    record = home / "ingests" / f"{key}.json"
    known = _known(store, spec.name, record)
    if known is not None:
        if progress:
            progress(known.rows, known.rows)
        return known

    work = home / ".work" / key
    folder = (work / "version").absolute()  # a worker of a Ray cluster stands in another folder than we do
    sweep(work)
    slices = _plan(work / "plan.json", reader, shard_rows)
    total = sum(s.rows for s in slices)
    task = _WriteShard(spec=spec, data=data, folder=folder, max_pixels=max_pixels)
    shards: list[dict[str, Any]] = []
    done = 0
    for summary in engine.map(task, slices):
        shards.append(summary)
        done += summary["rows"]
        if progress:
            progress(done, total)
    shards.sort(key=lambda s: s["number"])
    if [s["number"] for s in shards] != list(range(len(slices))):
        msg = f"source `{spec.name}`: engine `{engine.name}` returned {len(shards)} of {len(slices)} shards"
        raise RuntimeError(msg)

    samples, rejects = sum(s["samples"] for s in shards), sum(s["rejects"] for s in shards)
    if samples + rejects != total:
        msg = f"source `{spec.name}` does not add up: {total} rows, {samples} samples, {rejects} rejects"
        raise UserError(msg, hint=f"remove `{work}` and run it again")
    counts = {
        k: dict(sorted(sum((Counter(s[k]) for s in shards), Counter()).items())) for k in ("rejected", "tasks", "media")
    }
    version = SourceVersion(
        name=spec.name,
        digest=_digest(folder, spec, len(slices)),
        layout=layout_digest(f for s in shards for f in s["files"]),
        role=spec.role,
        license=spec.license,
        shards=len(slices),
        shard_rows=shard_rows,
        rows=total,
        samples=samples,
        rejects=rejects,
        rejected=counts["rejected"],
        tasks=counts["tasks"],
        media=counts["media"],
        spec={"format": spec.format, **spec.params, "task": spec.task, "max_pixels": max_pixels},
        volatile={
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            "seconds": round(time.time() - began, 3),
            "data": str(data),
            "engine": engine.name,
            "workers": engine.workers,
            "pillow": metadata.version("pillow"),
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    store.save_source(version, folder)
    publish(folder, store.source_dir(spec.name, version.digest))
    write_json(record, {"digest": version.digest})
    remove(work)
    found = _known(store, spec.name, record)
    assert found is not None
    return found


def _stored(store: Store, spec: SourceSpec) -> SourceVersion:
    """Return the version that a source of format `stored` names: `version`, or the latest."""
    version = spec.params.get("version")
    return store.source(f"{spec.name}@{version}" if version else spec.name)


def find(
    store: Store, spec: SourceSpec, *, data: Path, shard_rows: int = SHARD_ROWS, max_pixels: int = MAX_PIXELS
) -> SourceVersion | None:
    """Return the version that ingesting `spec` would return at once, or None where it has to be read first."""
    if spec.format == STORED:
        return _stored(store, spec)
    key = _key(spec, spec.reader(Path(data).absolute()), shard_rows, max_pixels)
    return _known(store, spec.name, store.root / "sources" / spec.name / "ingests" / f"{key}.json")


def _key(spec: SourceSpec, reader: base.SourceReader, shard_rows: int, max_pixels: int) -> str:
    """Return what names this ingest: the same spec, cut and untouched input files give the same key."""
    files = []
    for name, path in reader.inputs():
        try:
            info = path.stat()
            files.append([base.clean(name), info.st_size, info.st_mtime_ns])
        except OSError:  # a dangling link: it will be a reject
            files.append([base.clean(name), -1, -1])
    listing = sha256(json.dumps(sorted(files)).encode())
    what = {**asdict(spec), "shard_rows": shard_rows, "max_pixels": max_pixels, "rules": RULES, "files": listing}
    return fingerprint(json.loads(json.dumps(what)))


def _known(store: Store, name: str, record: Path) -> SourceVersion | None:
    """Return the version that an earlier ingest of this input gave, if it is still there."""
    if not record.exists():
        return None
    digest = str(read_json(record)["digest"])
    if not (store.source_dir(name, digest) / "source.json").exists():
        return None
    return store.source(f"{name}@{digest}")


def _plan(path: Path, reader: base.SourceReader, shard_rows: int) -> list[base.Slice]:
    """Return the cut of the input, from an interrupted ingest if there was one."""
    if not path.exists():
        # ASCII: file names that are not UTF-8 hold lone surrogates.
        write_bytes(path, json.dumps([asdict(s) for s in reader.plan(shard_rows)]).encode())
    return [base.Slice(number=s["number"], rows=s["rows"], parts=tuple(s["parts"])) for s in read_json(path)]


def _digest(folder: Path, spec: SourceSpec, shards: int) -> str:
    """Return the version's digest: over all samples with their labels, and over all rejects. Raises for an id that comes twice.

    Labels are in it, or a corrected licence would find the old version under its own name and keep it. How the rows were cut
    into shards is not.
    """
    ids: set[str] = set()

    def rows() -> Iterator[tuple[str, str]]:
        yield "", sha256(json.dumps([spec.role, spec.license]).encode())
        for number in range(shards):
            name = shard_name(number, "parquet")
            table = read_table(folder / "samples" / name, ["id", "digest", "task", "license", "meta"])
            for row in table.to_pylist():
                if row["id"] in ids:
                    msg = f"source `{spec.name}` gives the id `{row['id']}` twice: its reader is broken"
                    raise RuntimeError(msg)
                ids.add(row["id"])
                yield row["id"], sha256("\0".join((row["digest"], row["task"], row["license"], row["meta"])).encode())
            for row in read_table(folder / "rejects" / name, ["locator", "code"]).to_pylist():
                assert row["code"] in REJECT_CODES, row["code"]
                yield f"!{row['locator']}", sha256(row["code"].encode())

    return content_digest(rows())
