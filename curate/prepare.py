"""What must be there before scoring: fitted models and decontamination indexes, made once and named by content."""

import dataclasses
import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog import evals
from catalog.digests import fingerprint
from catalog.errors import UserError
from catalog.files import alone
from catalog.shards import MediaReader, write_table
from catalog.store import SHORT, SourceVersion, Store
from curate.recipe import ModelSpec, Recipe, StageSpec
from filters import base

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done, total)."""


def batches(store: Store, source: SourceVersion) -> Iterator[pa.RecordBatch]:
    """Yield the samples of a source version, a few hundred at a time, media tars named from the store's root."""
    prefix = store.source_dir(source.name, source.digest).relative_to(store.root)
    for number in range(source.shards):
        table = store.samples(source, number)
        for batch in table.to_batches(max_chunksize=256):
            yield _rooted(batch, prefix.as_posix())


def _rooted(batch: pa.RecordBatch, prefix: str) -> pa.RecordBatch:
    """Return the batch with every `shard` made relative to the store's root instead of its source's folder."""
    media = batch["media"]
    flat = media.flatten()
    shard = pa.compute.binary_join_element_wise(prefix, flat.field("shard"), "/")
    names = [f.name for f in flat.type]
    fields = [shard if n == "shard" else flat.field(n) for n in names]
    values = pa.StructArray.from_arrays(fields, fields=list(flat.type))
    lengths = pa.compute.fill_null(pa.compute.list_value_length(media), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pa.compute.cumulative_sum(lengths).cast(pa.int32())])
    column = pa.ListArray.from_arrays(offsets, values).cast(media.type)
    at = batch.schema.get_field_index("media")
    return pa.RecordBatch.from_arrays(
        [column if i == at else batch.column(i) for i in range(batch.num_columns)], schema=batch.schema
    )


def _fit(kind: str) -> Any:
    """Return the module that fits models of a kind: it has `config`, `VERSION` and `fit`."""
    return importlib.import_module(f"curate.fit_{kind}")


def model_dir(store: Store, spec: ModelSpec, sources: Mapping[str, SourceVersion]) -> Path:
    """Return the folder of a fitted model: named by what it is fitted on and with."""
    module = _fit(spec.fit)
    config = dataclasses.asdict(module.config(spec.config))
    on = [sources[name].digest for name in spec.reads]
    key = {"fit": spec.fit, "on": on[0], "config": base.plain(config), "version": module.VERSION}
    if spec.against:
        key["against"] = on[1]
    return store.root / "models" / f"{spec.name}@{fingerprint(key)}"


def fit_models(
    store: Store, recipe: Recipe, sources: Mapping[str, SourceVersion], progress: Progress
) -> dict[str, Path]:
    """Fit every model of the recipe that is not there yet; return their folders by name."""
    out = {}
    for spec in recipe.models:
        folder = out[spec.name] = model_dir(store, spec, sources)
        if folder.exists():
            continue
        for name in spec.reads:
            if not sources[name].samples:
                msg = f"model `{spec.name}` cannot be fitted: source `{name}` has no samples"
                raise UserError(msg, hint="the rejects of the source say why")

        def step(done: int, total: int, name: str = spec.name) -> None:
            progress(f"fit {name}", done, total)

        with alone(folder.parent), MediaReader(store.root) as reader:
            if folder.exists():  # another run has fitted it meanwhile
                continue
            module = _fit(spec.fit)
            given: list[Any] = [batches(store, sources[name]) for name in spec.reads]
            if spec.fit == "clip":  # looks at pictures
                given.append(reader)
            module.fit(*given, folder, config=module.config(spec.config), progress=step)
    return out


def suite(stage: StageSpec, recipe: Recipe, sources: Mapping[str, SourceVersion], store: Store) -> list[SourceVersion]:
    """Return the sources that a stage looks things up in: those it names, those of a suite it names, or every evaluation set."""
    names = stage.against or tuple(s.name for s in recipe.by_role("eval"))
    found: dict[str, SourceVersion] = {}
    for name in names:
        of_suite = evals.members(store, evals.suite(store, name)) if name.startswith(evals.PREFIX) else [sources[name]]
        for version in of_suite:
            if found.setdefault(version.name, version).digest != version.digest:
                msg = f"stage `{stage.filter}` looks at two versions of `{version.name}`: the recipe's and another in `{name}`"
                raise UserError(msg, hint="leave one of them out of `against`", usage=True)
    return [found[n] for n in sorted(found)]


def resolve(
    store: Store,
    recipe: Recipe,
    sources: Mapping[str, SourceVersion],
    models: Mapping[str, Path],
    *,
    build: bool,
    progress: Progress = lambda *_: None,
) -> list[tuple[StageSpec, base.Filter | None]]:
    """Return every stage with its filter, model and index bound.

    With `build` false (a plan) nothing is written, and a filter whose model or index is not there yet is None.
    """
    out: list[tuple[StageSpec, base.Filter | None]] = []
    for number, stage in enumerate(recipe.stages):
        params = dict(stage.params)
        if params.get("model") in models:
            params["model"] = str(models[params["model"]])
            if not Path(params["model"]).exists():
                out.append((stage, None))
                continue
        flt = base.load(stage.filter, params)
        if flt.build is not None:
            against = suite(stage, recipe, sources, store)
            path = _index(store, flt, against)
            if not path.exists():
                if not build:
                    out.append((stage, None))
                    continue
                progress("index evaluation sets", number, len(recipe.stages))
                _build_index(store, flt, against, path)
            flt = base.load(stage.filter, {**params, "index": str(path)})
        out.append((stage, flt))
    return out


def indexed(store: Store, name: str, params: Mapping[str, Any], against: Sequence[SourceVersion]) -> base.Filter:
    """Return a filter bound to an index that is made afresh from `against`; `params` as a dataset's record has them."""
    kinds = base.load(name).kinds
    given = {k: float(v) if kinds.get(k) is float else v for k, v in params.items()}  # a record holds no floats
    flt = base.load(name, given)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.parquet"
        _build_index(store, flt, against, path)
        bound = base.load(name, {**given, "index": str(path)})
        _ = bound.fingerprint  # reads the file while it is there
    return bound


def _index(store: Store, flt: base.Filter, against: Sequence[SourceVersion]) -> Path:
    if not against:
        msg = f"stage `{flt.name}` needs evaluation sets: no source has role `eval`"
        raise UserError(msg, hint="add a source with `role: eval`, or name one in `against`", usage=True)
    key = fingerprint({"filter": flt.fingerprint, "against": sorted(s.digest for s in against)})
    return store.root / "indexes" / f"{flt.name}@{key[:SHORT]}.parquet"


def _build_index(store: Store, flt: base.Filter, against: Sequence[SourceVersion], path: Path) -> None:
    assert flt.build is not None
    everything = (b for s in against for b in batches(store, s))
    with MediaReader(store.root) as reader:
        # An index of pictures needs the pictures; an index of texts takes samples only.
        write_table(path, flt.build(everything, reader=reader) if flt.needs_images else flt.build(everything))
