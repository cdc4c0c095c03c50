"""What repeats in the texts of a chunk: units (lines, paragraphs) by their normalised text, and windows of N bytes.

A window that stands elsewhere, too, shares the pick of its grams with it (`kernels.winnow`). So only windows whose pick
stands in two places are looked at one by one: no repeat is missed, and what is unique costs a pick per 50 bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError, nearest
from catalog.schema import ROLES
from catalog.shards import read_table, shard_name
from curate.spans import kernels, runs
from curate.spans.texts import Chunk, Places, Shard, Texts, taking_part
from filters.shared.text import Array, buffers, normalised

LINE, PARAGRAPH, SUBSTRING, SPACE = "line", "paragraph", "substring", "space"
KINDS = (LINE, PARAGRAPH, SUBSTRING, SPACE)
assert tuple(KINDS.index(k) for k in KINDS) == (kernels.LINE, kernels.PARAGRAPH, kernels.SUBSTRING, kernels.SPACE)
ASKED = ("lines", "paragraphs", "substrings")
SHORTEST = 16  # bytes of a substring


@dataclass(frozen=True, kw_only=True)
class Units:
    """Which lines or paragraphs are cut: those that stand in at least `times` samples and have so many characters.

    With `Rules.within` it is places that are counted, not samples.
    """

    times: int
    characters: int


LINES = Units(times=7, characters=20)
PARAGRAPHS = Units(times=2, characters=100)
BYTES = 200


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is looked for, and in which texts."""

    lines: Units | None = None
    paragraphs: Units | None = None
    substring: int | None = None
    roles: tuple[str, ...] = ("assistant",)
    media: bool = False
    within: bool = False  # a span that stands twice in one sample is a repeat, too

    def __post_init__(self) -> None:
        if not self.units and self.substring is None:
            msg = "nothing to cut: name lines, paragraphs or substrings"
            raise UserError(msg, hint=f"`--kinds {','.join(ASKED)}`, or some of them", usage=True)
        for kind, unit in self.units.items():
            if unit.times < 2 or unit.characters < 1:
                msg = f"a {kind} repeats in 2 places or more and has 1 character or more; got {unit.times} and {unit.characters}"
                raise UserError(msg, usage=True)
        if self.substring is not None and self.substring < SHORTEST:
            msg = f"a substring has {SHORTEST} bytes or more, got {self.substring}"
            raise UserError(msg, usage=True)
        if not self.roles:
            msg = "no role is named whose texts are looked at"
            raise UserError(msg, usage=True)
        for role in self.roles:
            if role not in ROLES:
                msg = f"no role named `{role}`{nearest(role, ROLES)}"
                raise UserError(msg, usage=True)

    @classmethod
    def of(
        cls,
        kinds: Sequence[str],
        *,
        lines: Units = LINES,
        paragraphs: Units = PARAGRAPHS,
        size: int = BYTES,
        **more: Any,
    ) -> "Rules":
        """Return the rules of the kinds that are named: `lines`, `paragraphs`, `substrings`."""
        for kind in kinds:
            if kind not in ASKED:
                msg = f"no kind of span named `{kind}`{nearest(kind, ASKED)}"
                raise UserError(msg, usage=True)
        return cls(
            lines=lines if "lines" in kinds else None,
            paragraphs=paragraphs if "paragraphs" in kinds else None,
            substring=size if "substrings" in kinds else None,
            **more,
        )

    @property
    def units(self) -> Mapping[str, Units]:
        """The kinds of units that are looked for."""
        return {k: u for k, u in ((LINE, self.lines), (PARAGRAPH, self.paragraphs)) if u is not None}

    @property
    def gram(self) -> int:
        """Bytes of the grams by which candidates are found."""
        return (self.substring or 0) // 2

    def record(self) -> dict[str, Any]:
        """Return the rules for a source's record."""
        out: dict[str, Any] = {f"{k}s": {"times": u.times, "characters": u.characters} for k, u in self.units.items()}
        if self.substring is not None:
            out["substring"] = self.substring
        return {**out, "roles": sorted(self.roles), "media": self.media, "within": self.within}


@dataclass(frozen=True, kw_only=True)
class Found:
    """Units or windows of a chunk: where each begins and ends, of which text it is, its two hashes."""

    start: Array
    end: Array
    text: Array
    one: Array
    two: Array
    said: pa.Array | None = None  # of units: the normalised text

    def address(self, chunk: Chunk) -> Array:
        """Return the addresses."""
        return chunk.base[self.text] + self.start - chunk.offsets[self.text]

    def rows(self, chunk: Chunk, *, within: bool) -> tuple[Array, Array, Array, Array]:
        """Return the rows of a run: hashes, address, and who has it."""
        address = self.address(chunk)
        return self.one, self.two, address, address if within else chunk.sample[self.text]


def strings(data: Array, offsets: Array) -> pa.Array:
    """Return a large_string array over bytes that lie there."""
    return pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(data)
    )


def units(chunk: Chunk, kind: str, characters: int) -> Found:
    """Return the lines or paragraphs that are long enough and hold no mark: NFKC, lower case, white space as one space."""
    start, text, free = kernels.units(chunk.data, chunk.offsets, kind == PARAGRAPH)
    end = np.append(start[1:], len(chunk.data))
    plain = buffers(normalised(strings(chunk.data, np.append(start, len(chunk.data)))))
    said = strings(*kernels.squeeze(plain.data, plain.offsets))
    use = np.flatnonzero(free & (np.asarray(pc.utf8_length(said)) >= characters))
    said = said.take(pa.array(use))
    raw = buffers(said)
    one, two = kernels.text_keys(raw.data, raw.offsets)
    return Found(start=start[use], end=end[use], text=text[use], one=one, two=two, said=said)


def picks(chunk: Chunk, size: int, gram: int) -> tuple[Found, Array, Array]:
    """Return the picks of a chunk, and from which window to which each is the pick."""
    low, high = kernels.between_marks(chunk.data, chunk.offsets)
    keys, places, since, until = kernels.winnow(chunk.data, low, high, size, gram)
    found = Found(start=places, end=places + gram, text=_text(chunk, places), one=keys, two=np.zeros_like(keys))
    return found, since, until


def windows(chunk: Chunk, size: int, gram: int, grams: runs.Repeated) -> Found:
    """Return the windows whose pick stands in two places."""
    found, since, until = picks(chunk, size, gram)
    hot = grams.find(found.one, found.two)[1] > 0
    since, until = since[hot], until[hot]
    if len(since):  # windows of picks that follow each other are hashed at one go
        fresh = np.append(True, since[1:] != until[:-1])
        last = np.append(np.flatnonzero(fresh)[1:] - 1, len(since) - 1)
        since, until = since[fresh], until[last]
    places, one, two = kernels.window_keys(chunk.data, since, until, size)
    return Found(start=places, end=places + size, text=_text(chunk, places), one=one, two=two)


def _text(chunk: Chunk, places: Array) -> Array:
    return np.searchsorted(chunk.offsets, places, side="right") - 1


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the tasks that look through shards share; picklable."""

    sources: tuple[Path, ...]  # folders of the versions
    work: Path
    rules: Rules

    def texts(self, shard: Shard) -> Texts:
        """Return the texts of a shard that take part."""
        return self.chosen(self.table(shard, ["messages", "media"]))

    def table(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a shard, or some of its columns."""
        return read_table(self.sources[shard.source] / "samples" / shard_name(shard.of, "parquet"), columns)

    def chosen(self, table: pa.Table) -> Texts:
        """Return the texts of a table that take part."""
        return taking_part(table, self.rules.roles, media=self.rules.media)

    def places(self) -> Places:
        """Return the way back from addresses."""
        return Places(folder=self.work / "places", sources=len(self.sources))

    def run(self, kind: str, number: int) -> Path:
        """Return the file of a shard's run."""
        return self.work / "runs" / kind / shard_name(number, "arrow")


@dataclass(frozen=True, kw_only=True)
class Keys(Look):
    """The task: writes the runs of a shard's units and picks; says how many rows each has."""

    def __call__(self, shard: Shard) -> dict[str, int]:
        """Write what is not there."""
        kinds = [*self.rules.units, *(["gram"] if self.rules.substring else [])]
        if not all(self.run(k, shard.number).exists() for k in kinds):
            texts = self.texts(shard)
            parts: dict[str, list[tuple[Array, Array, Array, Array]]] = {k: [] for k in kinds}
            for chunk in texts.chunks(self.places().base(shard.number)):
                for kind, unit in self.rules.units.items():
                    parts[kind].append(units(chunk, kind, unit.characters).rows(chunk, within=self.rules.within))
                if self.rules.substring:
                    parts["gram"].append(
                        picks(chunk, self.rules.substring, self.rules.gram)[0].rows(chunk, within=self.rules.within)
                    )
            for kind, rows in parts.items():
                runs.save(self.run(kind, shard.number), runs.tallied(rows))
        return {k: runs.load(self.run(k, shard.number)).num_rows for k in kinds}


@dataclass(frozen=True, kw_only=True)
class Windows(Look):
    """The task: writes the run of a shard's candidate windows; says how many rows it has."""

    grams: runs.Repeated

    def __call__(self, shard: Shard) -> int:
        """Write it unless it is there."""
        path = self.run("window", shard.number)
        if not path.exists():
            texts = self.texts(shard)
            size = self.rules.substring or 0
            rows = [
                windows(chunk, size, self.rules.gram, self.grams).rows(chunk, within=self.rules.within)
                for chunk in texts.chunks(self.places().base(shard.number))
            ]
            runs.save(path, runs.tallied(rows))
        return int(runs.load(path).num_rows)
