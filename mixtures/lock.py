"""From a spec and a store to `mixture.lock.json`: what the mixture is, exactly, and an id that is a function of that.

    lock = {schema, id, name, version, unit, seed, sampler, tokenizer, policy, budget, sources, splits?, order, volatile}

Everything but `id` and `volatile` is hashed: what is in the mixture, by which rules, how often, in which order. Where its
bytes lie (folders, shards, sizes and digests of files) is in `volatile`: moving or re-sharding is not another mixture.
"""

import datetime
import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.digests import content_digest, file_digest, json_digest, rows_digest
from catalog.errors import UserError, nearest
from catalog.files import publish, read_json, remove, write_json
from catalog.schema import KEPT
from catalog.store import DatasetVersion, SourceVersion, Store
from mixtures import members, solver, tokens
from mixtures.canonical import PREFIX, lock_id
from mixtures.order import SAMPLER as SAMPLER_NAME
from mixtures.order import Order, cost_of, draws_within, split_hash
from mixtures.spec import Source, Spec, Splits, plain

SCHEMA = "mixture-lock/1"
FILE = "mixture.lock.json"
ORDER_HEAD = 4096
TOOL = "cuvee"
_CHUNK = 65_536


@dataclass(frozen=True, kw_only=True)
class _Component:
    """One source of the spec, read from the store. Rows are sorted by id."""

    source: Source
    dataset: DatasetVersion
    inputs: tuple[SourceVersion, ...]
    table: pa.Table  # MEMBER, in the order read
    by_id: npt.NDArray[np.int64]
    pool: int  # rows before the split was taken
    split_counts: Mapping[str, int]

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.ChunkedArray:
        return self.table[name].take(pa.array(self.by_id))

    def costs(self, unit: str) -> npt.NDArray[np.int64]:
        """What each row costs in `unit`, by id."""
        if unit == "samples":
            return np.ones(self.rows, np.int64)
        if unit == "tokens":
            return np.asarray(self.table["tokens"]).astype(np.int64)[self.by_id]
        chunks = [tokens.images(c) for c in self.table["media"].chunks]
        return np.concatenate([*chunks, np.zeros(0, np.int64)])[self.by_id]


def lock(spec: Spec, store: Store, *, out: Path | None = None) -> Path:
    """Write the lock of `spec` over `store` and return its path; the same lock that is there already is returned.

    It goes to the store, or to the folder `out`. Raises `UserError` when a name is not there, when caps leave the budget
    unfilled, and when another lock has this name and version.
    """
    components = [_read(source, spec.splits, store) for source in spec.sources]
    target = out if out is not None else store.mixture_dir(spec.name, spec.version)
    record = _resolve(spec, components)
    record["id"] = lock_id(record)
    existing = _existing(target, record, spec)
    if existing is not None:
        return existing
    staging = target.parent / f".work-{os.getpid()}-{target.name}"
    remove(staging)
    try:
        files = {}
        for c in components:
            name = members.file_name(c.source.name)
            members.write(staging / name, c.table, c.by_id)
            files[name] = {
                "bytes": (staging / name).stat().st_size,
                "sha256": PREFIX + file_digest(staging / name),
            }
        record["volatile"] = _volatile(spec, components, store, target, files)
        write_json(staging / FILE, record)
        publish(staging, target)
    except BaseException:
        remove(staging)
        raise
    # Somebody may have published this version between our look and our rename.
    return _existing(target, record, spec) or target / FILE


def _existing(target: Path, record: Mapping[str, Any], spec: Spec) -> Path | None:
    path = target / FILE
    if not path.exists():
        return None
    there = read_json(path)
    if not isinstance(there, dict) or there.get("id") != record["id"] or lock_id(there) != record["id"]:
        msg = f"mixture `{spec.name}` version {spec.version} is locked already, as another mixture (`{path}`)"
        raise UserError(
            msg, hint=f"raise `version` in the spec: a locked version never changes ({spec.version} -> ...)"
        )
    for source in spec.sources:
        members.Members(target / members.file_name(source.name))
    return path


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(source: Source, splits: Splits | None, store: Store) -> _Component:
    dataset = store.dataset(source.ref)
    known = {str(s["name"]): s for s in dataset.sources}
    for name in source.sources:
        if name not in known:
            msg = f"dataset `{dataset.ref}` has no source `{name}`{nearest(name, known)}"
            raise UserError(msg, usage=True)
    inputs: list[SourceVersion] = []
    tables: list[pa.Table] = []
    for name in sorted(source.sources or known):
        if not int(known[name]["kept"]):
            continue
        version = store.source(f"{name}@{known[name]['digest']}")
        inputs.append(version)
        tables += _kept_samples(store, dataset, version, source.tasks)
    table = pa.concat_tables([*tables, members.MEMBER.empty_table()])
    pool, counts = table.num_rows, {}
    if splits is not None and pool:
        chosen = assign(table["digest"].to_pylist(), splits)
        names = [n for n, _ in splits.fractions]
        counts = {n: int((chosen == i).sum()) for i, n in enumerate(names)}
        table = table.filter(pa.array(chosen == names.index(str(source.split))))
    if not table.num_rows:
        asked = (("source", source.sources), ("task", source.tasks), ("split", (source.split,) if source.split else ()))
        wanted = " and ".join(f"{what} {' or '.join(f'`{n}`' for n in names)}" for what, names in asked if names)
        msg = f"component `{source.name}` is empty: dataset `{dataset.ref}` keeps no sample"
        msg += f" with {wanted}" if wanted else ""
        raise UserError(msg, hint=f"`cuvee catalog show {dataset.ref}` lists its sources and tasks")
    by_id = np.asarray(pc.sort_indices(table["id"])).astype(np.int64)
    ids = table["id"].take(pa.array(by_id))
    if table.num_rows > 1 and pc.any(pc.equal(ids[1:], ids[:-1])).as_py():
        msg = f"component `{source.name}` holds two samples with one id: the dataset `{dataset.ref}` is damaged"
        raise UserError(msg)
    return _Component(
        source=source,
        dataset=dataset,
        inputs=tuple(inputs),
        table=table,
        by_id=by_id,
        pool=pool,
        split_counts=counts,
    )


def _kept_samples(
    store: Store, dataset: DatasetVersion, version: SourceVersion, tasks: Sequence[str]
) -> Iterable[pa.Table]:
    kept = store.kept(dataset, version.name).select(KEPT.names).cast(KEPT)
    if tasks:
        kept = kept.filter(pc.is_in(kept["task"], pa.array(tasks)))
    prefix = store.source_dir(version.name, version.digest).relative_to(store.root).as_posix()
    shards = np.asarray(kept["shard"])
    for shard in np.unique(shards):
        mine = kept.filter(pa.array(shards == shard))
        samples = store.samples(version, int(shard)).take(mine["row"])
        if not samples["id"].combine_chunks().equals(mine["id"].combine_chunks()):
            msg = f"shard {shard} of source `{version.ref}` is not the one that dataset `{dataset.ref}` was made from"
            raise UserError(msg, hint="run the recipe again to make a new dataset version")
        samples = samples.combine_chunks()
        batch = samples.to_batches()[0]
        columns = {name: batch.column(name) for name in samples.schema.names}
        columns["media"] = _in_store(columns["media"], prefix)
        columns["tokens"] = pa.array(tokens.words1(columns["messages"]))
        yield pa.table([columns[f.name] for f in members.MEMBER], names=members.MEMBER.names).cast(members.MEMBER)


def _in_store(media: pa.ListArray, prefix: str) -> pa.ListArray:
    """Return media with `shard` relative to the store's folder instead of the source's."""
    flat = pc.list_flatten(media)
    arrays = {f.name: pc.struct_field(flat, f.name) for f in flat.type}
    arrays["shard"] = pc.binary_join_element_wise(prefix, arrays["shard"], "/")
    lengths = np.asarray(pc.fill_null(pc.list_value_length(media), 0))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(list(arrays.values()), list(arrays)))


def assign(digests: Sequence[str], splits: Splits) -> npt.NDArray[np.int64]:
    """Return the number of every sample's split, in the order of `splits.fractions`."""
    ends = list(itertools.accumulate(Fraction(f) for _, f in splits.fractions))[:-1]
    bounds = np.array([int(e * 2**64) for e in ends], np.uint64)
    return np.searchsorted(bounds, split_hash(digests, splits.salt), side="right").astype(np.int64)


# -- resolving ---------------------------------------------------------------------------------------------------------


def _resolve(spec: Spec, components: Sequence[_Component]) -> dict[str, Any]:
    asks, most = [], {}
    for c in components:
        costs = c.costs(spec.unit)
        if not costs.sum():
            msg = f"component `{c.source.name}` has no {spec.unit}: the mixture cannot give it a share"
            raise UserError(msg, hint="use another `unit` or leave the source out")
        draws, cap_name = _cap(c, spec)
        cap = None if draws is None else cost_of(costs, draws, seed=spec.seed, component=c.source.name)
        most[c.source.name] = draws
        asks.append(
            solver.Ask(name=c.source.name, size=int(costs.sum()), weight=c.source.weight, cap=cap, cap_name=cap_name)
        )
    key, amount = spec.budget
    budget = int(amount) if key != "epochs" else int(Fraction(amount) * sum(a.size for a in asks))
    if budget < 1:
        msg = f"the budget of {plain(amount)} epochs is less than one {spec.unit[:-1]}"
        raise UserError(msg, usage=True)
    shares = solver.weights(asks, spec.policy.name, spec.policy.alpha)
    plan = solver.solve(asks, shares, budget, unit=spec.unit)
    sources = []
    for c, share in zip(components, plan, strict=True):
        sources.append(_source_record(c, share, spec, most[c.source.name], budget))
    takes = [s["take"]["samples"] for s in sources]
    order = Order(spec.seed, tuple(c.source.name for c in components), tuple(c.rows for c in components), tuple(takes))
    if not order.total:
        msg = f"the budget of {budget:,} {spec.unit} is too small for a single sample"
        raise UserError(msg, usage=True)
    head, whole = order_digests(order, [c.column("id") for c in components])
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "name": spec.name,
        "version": spec.version,
        "unit": spec.unit,
        "seed": spec.seed,
        "sampler": SAMPLER_NAME,
        "tokenizer": {"name": spec.tokenizer},
        "policy": spec.to_json()["policy"],
        "budget": {"asked": {key: plain(amount)}, "units": budget}
        | {u: sum(s["take"][u] for s in sources) for u in ("samples", "tokens", "images")},
        "sources": sources,
        "order": {"first_4096": head, "all": whole},
    }
    if spec.splits:
        record["splits"] = spec.to_json()["splits"]
    return record


def _cap(c: _Component, spec: Spec) -> tuple[int | None, str | None]:
    """Return the most draws that the component's caps allow, and the cap that says so."""
    source = c.source
    caps: list[tuple[int, str]] = []
    if source.max_samples is not None:
        caps.append((source.max_samples, "max_samples"))
    if source.max_tokens is not None:
        costs = c.costs("tokens")
        if costs.sum():
            fit = draws_within(costs, source.max_tokens, seed=spec.seed, component=source.name)
            caps.append((fit, "max_tokens"))
    epochs, name = source.max_epochs, "max_epochs"
    if epochs is None:
        epochs, name = spec.policy.default_max_epochs, "default_max_epochs"
    if epochs is not None:
        caps.append((int(Fraction(epochs) * c.rows), name))
    return min(caps, key=lambda cap: cap[0]) if caps else (None, None)


def _source_record(c: _Component, share: solver.Share, spec: Spec, most: int | None, budget: int) -> dict[str, Any]:
    name, seed = c.source.name, spec.seed
    draws = share.units
    if spec.unit != "samples":
        draws = draws_within(c.costs(spec.unit), share.units, seed=seed, component=name)
    if most is not None:
        draws = min(draws, most)
    ids, digests = c.column("id").to_pylist(), c.column("digest").to_pylist()
    costs = {u: c.costs(u) for u in ("samples", "tokens", "images")}
    caps: dict[str, Any] = {k: v for k in ("max_samples", "max_tokens") if (v := getattr(c.source, k)) is not None}
    epochs = c.source.max_epochs if c.source.max_epochs is not None else spec.policy.default_max_epochs
    if epochs is not None:
        caps["max_epochs"] = plain(epochs)
    select: dict[str, Any] = {
        "rows": PREFIX + rows_digest(ids),
        "content": PREFIX + content_digest(zip(ids, digests, strict=True)),
        **{u: int(costs[u].sum()) for u in costs},
    }
    if c.source.sources:
        select["sources"] = list(c.source.sources)
    if c.source.tasks:
        select["tasks"] = list(c.source.tasks)
    if c.source.split:
        select |= {"split": c.source.split, "split_counts": dict(c.split_counts)}
    return {
        "name": name,
        "dataset": c.dataset.name,
        "version": c.dataset.version,
        "content": _prefixed(c.dataset.content),
        "select": select,
        "weight": "auto" if c.source.weight is None else plain(c.source.weight),
        "asked_ppm": int(share.weight * 1_000_000),
        "effective_ppm": share.units * 1_000_000 // budget,
        "plan": share.units,
        "caps": caps,
        "capped_by": share.capped_by,
        "take": {u: cost_of(costs[u], draws, seed=seed, component=name) for u in costs},
        "epochs_milli": draws * 1000 // c.rows,
        "lineage": _lineage(c),
        "licence": _licences(c.table),
    }


def _lineage(c: _Component) -> dict[str, Any]:
    d = c.dataset
    stages = [
        {k: _exact(s[k]) for k in ("filter", "version", "fingerprint", "params") if k in s}
        for s in d.recipe.get("stages", ())
        if isinstance(s, Mapping)
    ]
    return {
        "dataset": _prefixed(d.digest),
        "ledger": _prefixed(d.ledger),
        "recipe": PREFIX + json_digest(_exact(d.recipe)),
        "stages": stages,
        "rules": _exact(d.recipe.get("rules", [])),
        "counts": {k: int(v) for k, v in d.counts.items()},
        "sources": [{"name": s.name, "content": _prefixed(s.digest), "licence": s.license} for s in c.inputs],
        "decontamination": [_exact(dict(x)) for x in d.decontamination],
    }


def _licences(table: pa.Table) -> list[dict[str, Any]]:
    counted = pc.value_counts(pc.fill_null(table["license"], "unknown")).to_pylist()
    return sorted(
        ({"expression": x["values"], "samples": x["counts"]} for x in counted), key=lambda x: str(x["expression"])
    )


def _prefixed(digest: str) -> str:
    return digest if digest.startswith(PREFIX) else PREFIX + digest


def _exact(value: Any) -> Any:
    """Return `value` with floats as their shortest decimal string."""
    if isinstance(value, float):
        return plain(Decimal(repr(value)))
    if isinstance(value, Mapping):
        return {str(k): _exact(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(v) for v in value]
    return value


def order_digests(order: Order, ids: Sequence[pa.ChunkedArray]) -> tuple[str, str]:
    """Return the digests of the first 4,096 and of all sample ids, in training order.

    Each id is hashed as its length in bytes (4 bytes, big endian) and its UTF-8 bytes.
    """
    framed = pa.concat_arrays([_framed(c) for c in ids])
    first_row = np.cumsum([0, *order.sizes])
    head, whole = hashlib.sha256(), hashlib.sha256()
    ends = [*range(ORDER_HEAD, order.total, _CHUNK), order.total] if order.total > ORDER_HEAD else [order.total]
    begin = 0
    for end in ends:
        draws = order.resolve(np.arange(begin, end))
        rows = framed.take(pa.array(first_row[draws.component] + draws.index))
        data = b"".join(rows.to_pylist())
        whole.update(data)
        if begin == 0:
            head.update(data)
        begin = end
    return PREFIX + head.hexdigest(), PREFIX + whole.hexdigest()


def _framed(ids: pa.ChunkedArray) -> pa.Array:
    text = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    text = pa.concat_arrays(text.chunks) if isinstance(text, pa.ChunkedArray) else text
    data = text.cast(pa.large_binary())
    size = np.asarray(pc.binary_length(data)).astype(">u4")
    prefix = pa.Array.from_buffers(pa.binary(4), len(data), [None, pa.py_buffer(size.tobytes())])
    return pc.binary_join_element_wise(prefix.cast(pa.large_binary()), data, pa.scalar(b"", pa.large_binary()))


def _volatile(
    spec: Spec, components: Sequence[_Component], store: Store, target: Path, files: Mapping[str, Any]
) -> dict[str, Any]:
    inputs = {s.ref: s for c in components for s in c.inputs}
    folders = {ref: store.source_dir(s.name, s.digest).relative_to(store.root).as_posix() for ref, s in inputs.items()}
    return {
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "tool": TOOL,
        "spec": spec.to_json(),
        "files": dict(files),
        "layout": {ref: _prefixed(s.layout) for ref, s in inputs.items()},
        "locations": {
            "store": Path(os.path.relpath(store.root.resolve(), target.resolve())).as_posix(),
            "sources": folders,
        },
    }
