"""Make a planted corpus: raw, dirty data in five formats, clean evaluation sets, a trusted slice, and the truth.

Every sample has a random stream of its own, named by seed, split, source and position, so that the result does not depend
on the number of workers. Clean pictures come first; one that looks too much like an earlier one (`hashes.py`) is drawn
again from its next stream. Then come the samples with a defect, of which duplicates and leaks are made from clean ones.
"""

import dataclasses
import functools
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import UserError
from catalog.files import explain, write_json
from curate.synth import canvas, charts, defects, documents, hashes, mathematics, prose, scenes, writers
from curate.synth.item import Item, stream
from curate.synth.truth import TRUTH
from curate.synth.writers import Record

GENERATORS = {
    "scenes": scenes.caption,
    "questions": scenes.question,
    "charts": charts.question,
    "documents": documents.item,
    "math": mathematics.problem,
    "math_images": mathematics.formula,
    "text": prose.document,
    "instructions": prose.instruction,
}
SHARES = {
    "scenes": 24, "questions": 16, "charts": 16, "documents": 16, "math": 9, "math_images": 6, "text": 8, "instructions": 5,
}  # fmt: skip
"""Per cent of the training samples."""

TRUSTED = ("scenes", "questions", "charts", "documents", "math_images", "scenes", "documents", "charts", "questions")
TRUSTED_SHARE = 0.25
"""Trusted pictures, as a share of the training samples."""
HELDOUT = ("scenes", "questions", "charts", "documents", "math", "math_images", "text")
SMALLEST = 60
_CHUNK = 16
_ATTEMPTS = 50


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One sample to be made."""

    split: str  # train | heldout | trusted
    source: str
    index: int
    attempt: int = 0
    defect: str = ""
    parent: "Slot | None" = None  # the clean sample that this one copies or leaks


@dataclass(frozen=True, kw_only=True)
class Made:
    """A sample as it comes back from a worker."""

    record: Record
    look: tuple[int, int] | None = None  # perceptual hashes of a clean picture


Progress = Callable[[int, int], None]


def make(out: Path, *, size: int, seed: int, workers: int = 1, progress: Progress | None = None) -> dict[str, Any]:
    """Write a corpus of `size` training samples into `out` and return its counts; `progress` hears (done, total)."""
    if size < SMALLEST:
        msg = f"a planted corpus needs at least {SMALLEST} samples, to hold every defect; got {size}"
        raise UserError(msg, usage=True)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        msg = f"`{out}` is there already and not an empty folder"
        raise UserError(msg, hint="name a new folder, or remove this one", usage=True)
    train = plan(size, seed)
    clean = [s for s in train if not s.defect] + _heldout(size) + _trusted(size)
    total = len(clean) + sum(bool(s.defect) for s in train)
    tell = progress or (lambda done, total: None)
    with _mapper(workers) as run:
        made, redrawn = _clean(clean, seed, run, lambda done: tell(done, total))
        final = {(s.split, s.source, s.index): s for s in made}
        bad = [_with_parent(s, final) for s in train if s.defect]
        for n, (s, m) in enumerate(zip(bad, run(bad, seed), strict=True), 1):
            made[s] = m
            tell(len(clean) + n, total)
    try:
        _write(out, made)
    except OSError as e:
        raise explain(e, out) from e
    summary = _summary(size, seed, train, clean, redrawn)
    write_json(out / "truth" / "summary.json", summary)
    return summary


# -- the plan ----------------------------------------------------------------------------------------------------------


def plan(size: int, seed: int) -> list[Slot]:
    """Return the training samples: which are clean, which have what defect, and which copies what."""
    counts = defects.quotas(size, {k: v / 100 for k, v in SHARES.items()})
    per_source = {s: defects.quotas(n, defects.SHARES[s]) for s, n in counts.items()}
    _complete(counts, per_source)
    held = heldout_size(size)
    out = []
    for source, n in counts.items():
        rng = stream(seed, "plan", source)
        kinds = [k for k, count in per_source[source].items() for _ in range(count)]
        positions = rng.sample(range(n), len(kinds))
        defect = dict(zip(positions, kinds, strict=True))
        clean = [i for i in range(n) if i not in defect]
        rng.shuffle(clean)
        original = functools.partial(_original, source)
        # Leaks of one source leak different items, and no original has two copies.
        leaks = {s: rng.sample(range(held), held) for s in HELDOUT}
        for i in range(n):
            kind = defect.get(i, "")
            parent = None
            if kind == "near_duplicate_text":
                parent = next((p for p in map(original, reversed(clean)) if _is_long(p, seed)), original(clean[-1]))
                clean.remove(parent.index)
            elif kind in defects.DUPLICATES:
                parent = original(clean.pop())
            elif kind in defects.LEAKS:
                origin = source if kind == "leak_image" else "math"
                if source == "text" and rng.random() < 0.4:
                    origin = "text"
                leaks[origin] = leaks[origin] or rng.sample(range(held), held)
                parent = Slot(split="heldout", source=origin, index=leaks[origin].pop())
            out.append(Slot(split="train", source=source, index=i, defect=kind, parent=parent))
    return out


def _complete(counts: Mapping[str, int], per_source: Mapping[str, dict[str, int]]) -> None:
    """Give a small corpus one of each kind too, where need be in the place of a kind that has more."""

    def total(kind: str) -> int:
        return sum(q.get(kind, 0) for q in per_source.values())

    for kind in defects.KINDS:
        if total(kind):
            continue
        wanted = {s: n * defects.SHARES[s].get(kind, 0) for s, n in counts.items()}
        for source in sorted((s for s in wanted if wanted[s]), key=lambda s: (-wanted[s], s)):
            quota = per_source[source]
            spare = [k for k in quota if quota[k] and total(k) > 1]
            if sum(quota.values()) >= counts[source] * 3 // 5:  # the rest are clean: originals of copies
                if not spare:
                    continue
                quota[max(spare, key=lambda k: (quota[k], total(k), k))] -= 1
            quota[kind] = 1
            break


def _original(source: str, index: int) -> Slot:
    return Slot(split="train", source=source, index=index)


def _is_long(slot: Slot, seed: int) -> bool:
    """Tell whether one word can change and nearly all shingles stay: in a short text no edit is a light one."""
    return len(defects.shingles(" ".join(map(str, clean_item(slot, seed).fields.values())))) >= 48


def heldout_size(size: int) -> int:
    """Return how many items each evaluation set has."""
    return min(120, max(8, size // 40))


def _heldout(size: int) -> list[Slot]:
    return [Slot(split="heldout", source=s, index=i) for s in HELDOUT for i in range(heldout_size(size))]


def _trusted(size: int) -> list[Slot]:
    n = max(60, round(size * TRUSTED_SHARE))
    return [Slot(split="trusted", source=TRUSTED[i % len(TRUSTED)], index=i) for i in range(n)]


def _with_parent(slot: Slot, final: dict[tuple[str, str, int], Slot]) -> Slot:
    """Return the slot with its parent as it was drawn in the end."""
    p = slot.parent
    return slot if p is None else dataclasses.replace(slot, parent=final[p.split, p.source, p.index])


# -- making ------------------------------------------------------------------------------------------------------------


class _mapper:  # noqa: N801 - used as a function
    """A map over slots, in order, in this process or in several."""

    def __init__(self, workers: int) -> None:
        self.pool: ProcessPoolExecutor | None = None
        if workers > 1:
            # Not forked: the caller may hold threads (torch, polars) that do not survive it.
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(min(workers, os.cpu_count() or 1), mp_context=context)

    def __enter__(self) -> Callable[[Sequence[Slot], int], Iterator[Made]]:
        return self._map

    def __exit__(self, *_: object) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def _map(self, slots: Sequence[Slot], seed: int) -> Iterator[Made]:
        if self.pool is None or len(slots) < 2 * _CHUNK:
            return (build(s, seed) for s in slots)
        return self.pool.map(build, slots, [seed] * len(slots), chunksize=_CHUNK)


def _clean(
    slots: list[Slot], seed: int, run: Callable[[Sequence[Slot], int], Iterator[Made]], tell: Callable[[int], None]
) -> tuple[dict[Slot, Made], int]:
    """Return every clean sample, none of them looking like another, and how many were drawn again."""
    slots = list(slots)
    made: list[Made] = []
    for m in run(slots, seed):
        made.append(m)
        tell(len(made))
    redrawn = 0
    # Only pictures take part; documents by words cannot collide (`prose.py`).
    places = [i for i, m in enumerate(made) if m.look is not None]
    for _ in range(_ATTEMPTS):
        looks = [made[i].look for i in places]
        again = [places[k] for k in hashes.collisions([x for x in looks if x is not None])]
        if not again:
            break
        redrawn += len(again)
        for i in again:
            slots[i] = dataclasses.replace(slots[i], attempt=slots[i].attempt + 1)
        for i, m in zip(again, run([slots[i] for i in again], seed), strict=True):
            made[i] = m
    return dict(zip(slots, made, strict=True)), redrawn


def clean_item(slot: Slot, seed: int) -> Item:
    """Return the clean sample of a slot."""
    return GENERATORS[slot.source](stream(seed, slot.split, slot.source, slot.index, slot.attempt))


def build(slot: Slot, seed: int) -> Made:
    """Return one finished sample."""
    item = clean_item(slot, seed)
    rng = stream(seed, slot.split, slot.source, slot.index, "defect")
    if slot.defect:
        return Made(record=_defective(slot, item, seed, rng))
    image = item.draw() if item.draw else None
    data = _encoded(item, image, slot, seed)
    fields = item.fields
    if slot.split == "trusted" and item.retell:
        texts = [item.text, item.retell(rng), item.label or item.retell(rng)]
        fields = {"captions": list(dict.fromkeys(texts)), "kind": slot.source}
    look = (hashes.difference_hash(image), hashes.frequency_hash(image)) if image else None
    return Made(record=Record(fields=fields, image=data, extension=item.extension), look=look)


def _encoded(item: Item, image: Any, slot: Slot, seed: int) -> bytes | None:
    """Return the clean picture's bytes: the same for a sample and for its exact duplicate."""
    quality = stream(seed, slot.split, slot.source, slot.index, "quality").randint(85, 93)
    return None if image is None else canvas.encode(image, item.extension, quality)


def _defective(slot: Slot, item: Item, seed: int, rng: Any) -> Record:
    """Return the sample with its defect."""
    kind, source = slot.defect, slot.source
    if slot.parent is not None:
        item = clean_item(slot.parent, seed)
    fields: dict[str, Any] = dict(item.fields)
    extension, corruption = item.extension, ""
    if kind == "leak_text":
        fields = defects.leaked(source, item.fields, rng)
    elif kind == "mismatched_caption":
        fields = defects.mismatched(source, fields, _donor(slot, item, seed), rng)
    elif kind == "boilerplate_alt":
        fields["caption"] = defects.boilerplate(rng)
    elif kind == "duplicate_caption_edited":
        fields["caption"] = defects.edited_caption(fields["caption"], rng)
    elif kind == "near_duplicate_text":
        key = {"text": "text", "math": "question", "instructions": "instruction"}[source]
        fields = defects.edited_text(fields, key, rng)
    elif kind == "gibberish":
        fields = {k: defects.gibberish(rng, 60, 160) for k in fields}
    elif kind == "repetition":
        fields = {**fields, "output" if source == "instructions" else "text": defects.repetition(rng)}
    elif kind == "wrong_answer":
        fields = dict(mathematics.wrong_answer(rng).fields)
    elif kind == "broken_latex":
        if source == "math":
            fields = dict(mathematics.record(mathematics.latex(rng)).fields)
        fields["answer"] = defects.broken_latex(fields["answer"], rng)
    elif kind == "ocr_noise":
        fields = defects.noisy(fields, rng)
    elif kind == "corrupt_file":
        modes = defects.CORRUPTIONS[source]
        corruption = modes[slot.index % len(modes)]
    if item.draw is None or kind == "leak_text":
        return Record(fields=fields, corruption=corruption)
    image = item.draw()
    if kind in ("exact_duplicate", "duplicate_caption_edited"):
        assert slot.parent is not None
        data = _encoded(item, image, slot.parent, seed)
    else:
        if kind in ("duplicate_reencoded", "leak_image"):
            extension = "jpg"
        image = _picture(kind, image, rng)
        data = canvas.encode(image, extension, _quality(kind, rng))
    return Record(
        fields=fields, image=defects.corrupted(data or b"", corruption), extension=extension, corruption=corruption
    )


def _quality(kind: str, rng: Any) -> int:
    return int(rng.randint(60, 78) if kind in ("duplicate_reencoded", "leak_image") else rng.randint(84, 92))


def _picture(kind: str, image: Any, rng: Any) -> Any:
    if kind == "banner_image":
        return defects.banner(rng)
    change = {
        "duplicate_resized": defects.resized,
        "duplicate_cropped": defects.cropped,
        "duplicate_brightness": defects.brightened,
        "blank_image": defects.blank,
        "tiny_image": defects.tiny,
        "blurred_image": defects.blurred,
    }.get(kind)
    if kind == "leak_image" and rng.random() < 0.5:
        change = defects.resized
    return change(image, rng) if change else image


def _donor(slot: Slot, item: Item, seed: int) -> Item:
    """Return another sample whose text has nothing to do with this picture."""
    rng = stream(seed, "donor", slot.source, slot.index)
    near = rng.random() < defects.NEAR
    donors = defects.NEAR_DONORS if near and slot.source in defects.NEAR_DONORS else defects.DONORS
    while True:
        other = GENERATORS[rng.choice(donors[slot.source])](rng)
        if donors is defects.DONORS or not other.colors & item.colors:
            return other


# -- writing -----------------------------------------------------------------------------------------------------------


def _write(out: Path, made: dict[Slot, Made]) -> None:
    folders: dict[tuple[str, str], list[tuple[Slot, Record]]] = {}
    for s, m in made.items():
        key = (s.split, "trusted" if s.split == "trusted" else s.source)
        folders.setdefault(key, []).append((s, m.record))
    for (split, source), pairs in folders.items():
        pairs.sort(key=lambda p: p[0].index)
        folder = out / "heldout" / source if split == "heldout" else out / source
        writers.write(folder, source, [r for _, r in pairs])
    rows = []
    for s in sorted((s for s in made if s.split == "train"), key=lambda s: (list(SHARES).index(s.source), s.index)):
        p = s.parent
        of = None
        if p is not None:
            of = f"{'heldout/' if p.split == 'heldout' else ''}{p.source}/{writers.locator(p.source, p.index)}"
        expect = "keep" if not s.defect else "reject" if s.defect == "corrupt_file" else "drop"
        rows.append(
            {
                "source": s.source,
                "locator": writers.locator(s.source, s.index),
                "defect": s.defect or None,
                "of": of,
                "expect": expect,
            }
        )
    (out / "truth").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, TRUTH), out / "truth" / "truth.parquet")


def _summary(size: int, seed: int, train: list[Slot], clean: list[Slot], redrawn: int) -> dict[str, Any]:
    return {
        "size": size,
        "seed": seed,
        "sources": dict(Counter(s.source for s in train)),
        "defects": dict(sorted(Counter(s.defect for s in train if s.defect).items())),
        "clean": sum(not s.defect for s in train),
        "heldout": dict(Counter(s.source for s in clean if s.split == "heldout")),
        "trusted": sum(s.split == "trusted" for s in clean),
        "redrawn": redrawn,
    }
