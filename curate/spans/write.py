"""The cuts: each shard of the new version with a row for every cut, and the proof that what was cut stands where the row says."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.digests import file_digest, sample_digest
from catalog.files import read_json, write_json
from catalog.schema import REJECT, SAMPLE
from catalog.shards import read_table, shard_name, write_table
from curate.rewrite import bring_tar, renamed
from curate.spans import find, kernels, runs
from curate.spans.texts import Chunk, Places, Shard, Texts
from filters.shared.text import Array, buffers, lengths, starts

CUT = pa.schema(
    [
        ("id", pa.string()),
        ("message", pa.int32()),  # which of the sample's messages, from 0
        ("start", pa.int64()),  # first byte that is cut, in the UTF-8 of that message before any cut
        ("end", pa.int64()),  # the byte after the last
        ("kind", pa.string()),  # line | paragraph | substring | space
        ("kept", pa.string()),  # the sample in which it stands first; null for the white space beside a cut
        ("kept_message", pa.int32()),
        ("kept_start", pa.int64()),  # of a line or paragraph: where all of it begins, however much of it this row cuts
        (
            "count",
            pa.int64(),
        ),  # in how many samples it stands (places, with `within`); of a substring: every window of it, at least
    ]
)

CLAIM = pa.schema(
    [
        ("shard", pa.int32()),  # where the kept one lies
        ("text", pa.int32()),
        ("start", pa.int64()),
        ("kind", pa.int8()),
        ("said", pa.large_binary()),  # what was cut; of a line or paragraph: normalised
    ]
)


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Rows of places to cut: number of the text, first byte and end in it, kind, address of the kept one, count."""

    text: Array
    start: Array
    end: Array
    kind: Array
    kept: Array
    count: Array

    def take(self, rows: Array) -> "Cuts":
        """Return some of the rows."""
        return Cuts(**{k: v[rows] for k, v in vars(self).items()})


def joined(parts: list[Cuts]) -> Cuts:
    """Return the rows of all parts."""
    nothing = np.zeros(0, np.int64)
    return Cuts(**{k: np.concatenate([nothing, *(getattr(p, k) for p in parts)]) for k in Cuts.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class Write(find.Look):
    """The task: writes one shard of the new version, its cuts, and its claims for `Verify`; says what is in it."""

    repeated: Mapping[str, runs.Repeated]
    old: tuple[str, ...]  # names of the sources
    new: tuple[str, ...]

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Write it, or find it written."""
        folder = self.folder(shard.source)
        name = shard_name(shard.of, "parquet")
        note = self.work / "notes" / shard_name(shard.number, "json")
        if not note.exists() or not (folder / "samples" / name).exists():
            write_json(note, self._make(shard, folder))
        files = [folder / "samples" / name, folder / "rejects" / name, folder / "cuts" / name]
        tar = folder / "media" / shard_name(shard.of, "tar")
        files += [tar] if tar.exists() else []
        listed = [(p.relative_to(folder).as_posix(), p.stat().st_size, file_digest(p)) for p in files]
        return {"source": shard.source, "number": shard.of, **read_json(note), "files": listed}

    def folder(self, source: int) -> Path:
        """Return where the new version of a source is made."""
        return self.work / "versions" / str(source)

    def _make(self, shard: Shard, folder: Path) -> dict[str, Any]:
        table = self.table(shard)
        texts = self.chosen(table)
        places = self.places()
        cuts = self._cuts(shard, texts, places)
        gone, cuts, spared = _gone(table, texts, cuts)
        before = self.sources[shard.source]
        name = shard_name(shard.of, "parquet")
        record = self._record(shard, table, texts, cuts, places)
        write_table(folder / "cuts" / name, record)

        after, changed = _applied(table, texts, cuts)
        kept = self._renamed(shard.source, after.filter(pa.array(~gone)))
        fresh = self.old[shard.source] != self.new[shard.source]
        if len(changed) or fresh:
            rows = kept.to_pylist() if (before / "media" / shard_name(shard.of, "tar")).exists() else []
            bring_tar(before, folder, shard.of, rows)
            if rows:
                kept = pa.Table.from_pylist(rows, schema=SAMPLE)
        else:
            bring_tar(before, folder, shard.of, None)
        rejects = read_table(before / "rejects" / name)
        rejects = pa.concat_tables([rejects, self._rejects(shard.source, table.filter(pa.array(gone)), record)])
        source = pa.array([self.new[shard.source]] * rejects.num_rows, pa.string())
        write_table(folder / "rejects" / name, rejects.set_column(0, "source", source).cast(REJECT))
        write_table(folder / "samples" / name, kept.cast(SAMPLE))
        size = np.asarray(record["end"]) - np.asarray(record["start"])
        kinds = record["kind"].to_pylist()
        return {
            "samples": kept.num_rows,
            "rejects": rejects.num_rows,
            "rejected": dict(Counter(rejects["code"].to_pylist())),
            "tasks": dict(Counter(kept["task"].to_pylist())),
            "media": dict(Counter(pc.list_flatten(kept["media"]).combine_chunks().field("kind").to_pylist())),
            "texts": len(texts.content),
            "bytes": int(pc.sum(pc.binary_length(texts.content), min_count=0).as_py()),
            "changed": len(changed) - int(gone.sum()),
            "spared": spared,
            "emptied": int(gone.sum()),
            "cuts": dict(Counter(kinds)),
            "cut_bytes": {k: int(size[[x == k for x in kinds]].sum()) for k in sorted(set(kinds))},
        }

    def _cuts(self, shard: Shard, texts: Texts, places: Places) -> Cuts:
        """Return the disjoint cuts of a shard, sorted; write the claims that they rest on."""
        claims = [CLAIM.empty_table()]
        out = []
        for chunk in texts.chunks(places.base(shard.number)):
            raw, said = self._found(chunk)
            claims.append(_claims(raw, said, places))
            order = np.lexsort((-raw.end, raw.start, raw.text))
            raw = raw.take(order)
            row, text, start, end = kernels.settle(chunk.data, chunk.offsets, raw.text, raw.start, raw.end, raw.kind)
            real = row >= 0
            kind = np.where(real, raw.kind[row], kernels.SPACE) if len(raw.kind) else row
            shift = np.where(kind == kernels.SUBSTRING, start - raw.start[row], 0) if len(raw.kind) else row
            begin = chunk.offsets[text]
            out.append(
                Cuts(
                    text=text + chunk.number,
                    start=start - begin,
                    end=end - begin,
                    kind=kind,
                    kept=np.where(real, raw.kept[row] + shift, -1) if len(raw.kind) else row,
                    count=np.where(real, raw.count[row], 0) if len(raw.kind) else row,
                )
            )
        table = pa.concat_tables(claims).combine_chunks()
        runs.save(self.work / "claims" / shard_name(shard.number, "arrow"), table.sort_by("shard"))
        return joined(out)

    def _found(self, chunk: Chunk) -> tuple[Cuts, pa.Array]:
        """Return what is to be cut from a chunk, places counted within it, and what it says."""
        parts, said = [], [pa.array([], pa.large_binary())]
        for kind, unit in self.rules.units.items():
            found = find.units(chunk, kind, unit.characters)
            kept, count = self.repeated[kind].find(found.one, found.two)
            bar = found.address(chunk) if self.rules.within else chunk.sample[found.text]
            at = np.flatnonzero((count > 0) & (kept < bar))
            number = np.full(len(at), find.KINDS.index(kind), np.int64)
            parts.append(
                Cuts(
                    text=found.text[at],
                    start=found.start[at],
                    end=found.end[at],
                    kind=number,
                    kept=kept[at],
                    count=count[at],
                )
            )
            assert found.said is not None
            said.append(found.said.take(pa.array(at)).cast(pa.large_binary()))
        if self.rules.substring:
            size = self.rules.substring
            found = find.windows(chunk, size, self.rules.gram, self.repeated["gram"])
            kept, count = self.repeated["window"].find(found.one, found.two)
            bar = np.full_like(chunk.sample, -1) if self.rules.within else chunk.sample
            text, start, end, kept, count = kernels.runs(
                found.start, found.text, chunk.offsets, chunk.base, bar, kept, count, size
            )
            kind_ = np.full(len(text), kernels.SUBSTRING, np.int64)
            parts.append(Cuts(text=text, start=start, end=end, kind=kind_, kept=kept, count=count))
            said.append(find.strings(*kernels.slices(chunk.data, start, end)).cast(pa.large_binary()))
        return joined(parts), pa.concat_arrays(said)

    def _record(self, shard: Shard, table: pa.Table, texts: Texts, cuts: Cuts, places: Places) -> pa.Table:
        """Return the CUT rows."""
        ids = table["id"].combine_chunks().take(pa.array(texts.row[cuts.text]))
        real = cuts.kind != kernels.SPACE
        there = places.find(cuts.kept[real])
        sources = np.asarray(there["source"])
        kept = there["id"].combine_chunks().cast(pa.string())
        for n in np.unique(sources).tolist():
            kept = pc.if_else(pa.array(sources == n), self._ids(kept, n), kept)
        offset = cuts.kept[real] - np.asarray(there["start"])
        back = np.full(len(cuts.kind), -1)
        back[real] = np.arange(int(real.sum()))
        at = pa.array(back, mask=~real)
        return pa.table(
            [
                self._ids(ids, shard.source), texts.message[cuts.text].astype(np.int32), cuts.start, cuts.end,
                pa.array(find.KINDS).take(pa.array(cuts.kind)), kept.take(at), there["message"].combine_chunks().take(at),
                pa.array(offset).take(at), pa.array(cuts.count, mask=~real),
            ],
            schema=CUT,
        )  # fmt: skip

    def _ids(self, ids: pa.Array, source: int) -> pa.Array:
        old, new = self.old[source], self.new[source]
        return ids if old == new else pc.binary_join_element_wise(new, pc.utf8_slice_codeunits(ids, len(old)), "")

    def _renamed(self, source: int, table: pa.Table) -> pa.Table:
        if self.old[source] == self.new[source]:
            return table
        table = table.set_column(0, "id", self._ids(table["id"].combine_chunks(), source))
        return table.set_column(2, "source", pa.array([self.new[source]] * table.num_rows, pa.string()))

    def _rejects(self, source: int, table: pa.Table, record: pa.Table) -> pa.Table:
        """Return the rejects that the samples of `table` become."""
        real = record.filter(pc.is_valid(record["kept"]))
        first = dict(zip(reversed(real["id"].to_pylist()), reversed(real["kept"].to_pylist()), strict=True))
        old, new = self.old[source], self.new[source]
        rows = [
            {
                "source": new,
                "locator": id_.removeprefix(f"{old}/"),
                "code": "empty",
                "message": f"all of its text stands elsewhere, too; it begins in `{first[renamed(id_, old, new)]}`",
            }
            for id_ in table["id"].to_pylist()
        ]
        return pa.Table.from_pylist(rows, schema=REJECT)


def _gone(table: pa.Table, texts: Texts, cuts: Cuts) -> tuple[Array, Cuts, int]:
    """Return which samples have nothing left, the cuts to make, and how many texts were spared.

    A text of which nothing would be left stays whole where its sample says anything else: an answer may be that of many
    questions, and a question without an answer teaches nothing.
    """
    raw = buffers(texts.content)
    at = raw.offsets[cuts.text]
    had, left = kernels.remains(raw.data, raw.offsets, cuts.text, cuts.start + at, cuts.end + at)
    empty = (had > 0) & (left == 0)
    messages = table["messages"].combine_chunks()
    every = buffers(messages.flatten().field("content"))
    nothing = np.zeros(0, np.int64)
    says = kernels.remains(every.data, every.offsets, nothing, nothing, nothing)[0] > 0
    row = np.repeat(np.arange(table.num_rows), lengths(messages))
    emptied = np.bincount(texts.row[empty], minlength=table.num_rows)
    gone = (emptied > 0) & (np.bincount(row[says], minlength=table.num_rows) == emptied)
    spared = empty & ~gone[texts.row]
    return gone, cuts.take(np.flatnonzero(~spared[cuts.text])), int(spared.sum())


def _applied(table: pa.Table, texts: Texts, cuts: Cuts) -> tuple[pa.Table, Array]:
    """Return the shard with its cuts made and new digests, and the rows that changed."""
    touched = np.unique(cuts.text)
    changed = np.unique(texts.row[touched])
    if not len(touched):
        return table, changed
    raw = buffers(texts.content)
    at = raw.offsets[cuts.text]
    short = find.strings(*kernels.without(raw.data, raw.offsets, cuts.text, cuts.start + at, cuts.end + at))
    messages = table["messages"].combine_chunks()
    flat = messages.flatten()
    content = flat.field("content").cast(pa.large_string())
    mask = np.zeros(len(content), bool)
    mask[texts.flat[touched]] = True
    content = pc.replace_with_mask(content, pa.array(mask), short.take(pa.array(touched))).cast(pa.string())
    again = pa.StructArray.from_arrays([flat.field("role"), content], ["role", "content"])
    offsets = pa.array(starts(lengths(messages)), pa.int32())
    table = table.set_column(table.column_names.index("messages"), "messages", pa.ListArray.from_arrays(offsets, again))
    rows = table.select(["messages", "media", "boxes"]).take(pa.array(changed)).to_pylist()
    digests = [sample_digest(r["messages"], r["media"] or [], r["boxes"] or []) for r in rows]
    mask = np.zeros(table.num_rows, bool)
    mask[changed] = True
    column = pc.replace_with_mask(table["digest"].combine_chunks(), pa.array(mask), pa.array(digests, pa.string()))
    return table.set_column(table.column_names.index("digest"), "digest", column), changed


# -- the proof ---------------------------------------------------------------------------------------------------------


def _claims(raw: Cuts, said: pa.Array, places: Places) -> pa.Table:
    there = places.find(raw.kept)
    begin = pa.array(raw.kept - np.asarray(there["start"]))
    return pa.table([there["shard"], there["text"], begin, pa.array(raw.kind, pa.int8()), said], schema=CLAIM)


@dataclass(frozen=True, kw_only=True)
class Verify(find.Look):
    """The task: holds all that was cut against the places where it is said to stand first, byte by byte; says how much.

    An item is a few shards, so that a file of claims is opened once for all of them.
    """

    shards: tuple[Shard, ...]
    written: tuple[int, ...]  # numbers of the shards that have claims

    def __call__(self, block: tuple[int, int]) -> int:
        """Return how many claims on these shards were held true; raise `RuntimeError` for one that is not."""
        held = 0
        there = lru_cache(maxsize=None)(self._there)
        for number in self.written:
            claims = runs.load(self.work / "claims" / shard_name(number, "arrow"))
            shard = runs.column(claims, "shard")
            low, high = np.searchsorted(shard, block)
            at = int(low)
            while at < high:
                end = int(np.searchsorted(shard, shard[at], side="right"))
                there(int(shard[at])).check(claims.slice(at, end - at))
                held += end - at
                at = end
        return held

    def _there(self, number: int) -> "_Kept":
        return _Kept(texts=self.texts(self.shards[number]), rules=self.rules)


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The texts of one shard in which something is kept."""

    texts: Texts
    rules: find.Rules

    def check(self, claims: pa.Table) -> None:
        raw = buffers(self.texts.content)
        kind = runs.column(claims, "kind")
        start = raw.offsets[runs.column(claims, "text")] + runs.column(claims, "start")
        said = claims["said"].combine_chunks()
        byte = np.flatnonzero(kind == kernels.SUBSTRING)
        mine = said.take(pa.array(byte))
        end = start[byte] + np.asarray(pc.binary_length(mine))
        self._same(mine, find.strings(*kernels.slices(raw.data, start[byte], np.minimum(end, len(raw.data)))))
        for name in self.rules.units:
            at = np.flatnonzero(kind == find.KINDS.index(name))
            if not len(at):
                continue
            found = self._units[name]
            assert found.said is not None
            row = np.minimum(np.searchsorted(found.start, start[at]), len(found.start) - 1)
            self._same(said.take(pa.array(at)), found.said.take(pa.array(row)))

    @cached_property
    def _units(self) -> dict[str, find.Found]:
        """The lines and paragraphs, once for all claims on them."""
        raw = buffers(self.texts.content)
        # As one chunk: places within it are places among all of the shard's texts.
        data, base = raw.data[: raw.offsets[-1]], raw.offsets[:-1]
        whole = Chunk(data=data, offsets=raw.offsets, base=base, sample=base, number=0)
        return {name: find.units(whole, name, unit.characters) for name, unit in self.rules.units.items()}

    def _same(self, one: pa.Array, other: pa.Array) -> None:
        if not pc.all(pc.equal(one, other.cast(pa.large_binary())), min_count=0).as_py():
            msg = "what was cut does not stand where it should: two different spans have the same hashes"
            raise RuntimeError(msg)
