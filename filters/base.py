"""The protocol of a filter: a pure function from samples to scores. It never drops anything.

    @scorer(version=1, scores={"aspect_ratio": pa.float64()}, bounds={"aspect_ratio": (None, 3.0)})
    def aspect_ratio(batch: pa.RecordBatch) -> pa.RecordBatch: ...

`batch` is SAMPLE (`catalog/schema.py`); the result has one row per sample, in the same order, with exactly the columns
of `scores`. Null means "does not apply" and keeps the sample; NaN means "could not be computed" and drops it.
A filter that looks at pixels takes a second positional argument `images: Images` (`filters/shared/images.py`), decoded
once and shared by all filters of a pass. What it can tell from the small planes that are cut from every picture it
lists in its module's `MEASURES` (functions from `filters.shared.planes.Cuts` to n x k numbers): those of all filters are
taken at one go, while the picture is at hand, and `images.measure(...)` gives them.

A result must not depend on where batches are cut, on the number of workers or on the order of shards.

Keyword-only arguments are the filter's parameters; one without a default must be given in a recipe. Their annotations say
what a recipe may give (`filters/shared/kinds.py`); one named `min_*` must be 0 or more.

A parameter whose name is `model` or `index` or ends in `_path` is a path to a folder or file that the filter loads; its
content digest, not its path, goes into the fingerprint. A `model` may also be a model of open_clip, `<arch>/<tag>` or
`hf-hub:<repo>`: its name goes into the fingerprint.

Three kinds of filter have a global half as well, written in the same file:
- a deduplicating filter: `scores` holds signature columns with bounds {}; a sample whose first one is null has no part in it.
  Either the module has `keys(signatures: pa.Table, **params) -> pa.Table`, from (id, <score columns>) of samples to
  (row: int64, into `signatures`; key: uint64), and `alike(signatures: pa.Table, a, b, **params)`, from pairs of rows to their
  similarities (float64, 0..1; 0: no duplicates): samples that share a key are compared, any number of them, out of core
  (`curate/dedup`). Or it has `cluster(signatures: pa.Table, **params) -> pa.Table`: from the whole table to (id, cluster,
  similarity), and perhaps `preference` (float64: the highest of a cluster is the one to keep); where a recipe prefers some, the
  table has a column `preference` too, and those go first. A sample that has no duplicate may be left out.
  Who survives is decided in `catalog/judge.py`.
- a decontaminating filter: the module has `build(batches: Iterator[pa.RecordBatch], **params) -> pa.Table`, from the
  samples of the evaluation sets to an index table, which is handed to the filter as its parameter `index` (a Parquet file);
  one of its score columns is named `match` (string: id of the evaluation item) and becomes VERDICT.match.
- a pooling filter: `scores` holds what is to be known of one sample (a hash, a class), `pooled` the scores that follow from
  all of them, and the module has `pool(signatures: pa.Table, **params) -> pa.Table`: from (id, source, task, <score columns>)
  of every sample that the stage looks at to (id, <pooled columns>), rows in any order; a sample left out has null.
"""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.digests import file_digest, fingerprint, json_digest, layout_digest
from catalog.errors import UserError, nearest
from filters.shared import kinds

Bound = tuple[float | None, float | None]
"""(low, high), both inclusive; None: no bound on that side."""


def is_path(parameter: str) -> bool:
    """Tell whether a parameter names a file or folder that the filter loads."""
    return parameter in ("model", "index") or parameter.endswith("_path")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One filter with its parameters bound."""

    name: str
    version: int
    scores: Mapping[str, pa.DataType]
    bounds: Mapping[str, Bound]  # the published defaults, cited in the docstring
    fn: Callable[..., pa.RecordBatch]
    needs_images: bool
    needs_model: bool  # runs a neural network: an engine may give it a GPU
    params: Mapping[str, Any] = field(default_factory=dict)
    doc: str = ""
    kinds: Mapping[str, Any] = field(default_factory=dict)  # the annotations of the parameters
    pooled: Mapping[str, pa.DataType] = field(default_factory=dict)  # what `pool` adds to the scores
    required: tuple[
        str, ...
    ] = ()  # parameters without a default: without them every score is null, and a recipe is refused

    @property
    def pool(self) -> Callable[..., pa.Table] | None:
        """The global half of a pooling filter, with its parameters bound, or None."""
        return self._global("pool") if self.pooled else None

    @property
    def numbers(self) -> list[str]:
        """The scores that can be compared and bounded: not signatures, not names of matches."""
        if self.cluster:
            return []
        every = {**self.pooled, **self.scores}
        return [
            s for s, t in every.items() if pa.types.is_floating(t) or pa.types.is_integer(t) or pa.types.is_boolean(t)
        ]

    @property
    def cluster(self) -> Callable[..., pa.Table] | None:
        """The global half of a deduplicating filter, in memory, with its parameters bound, or None."""
        if self.keys is None or self.alike is None:
            return self._global("cluster")
        from filters.shared import pairs  # numba: half a second that listing filters need not pay

        return functools.partial(pairs.cluster, keys=self.keys, alike=self.alike)

    @property
    def keys(self) -> Callable[..., pa.Table] | None:
        """Which samples are to be compared, where the global half can work out of core, or None."""
        return self._global("keys")

    @property
    def alike(self) -> Callable[..., Any] | None:
        """How similar two samples are, where the global half can work out of core, or None."""
        return self._global("alike")

    @property
    def build(self) -> Callable[..., pa.Table] | None:
        """The index builder of a decontaminating filter, with its parameters bound, or None."""
        return self._global("build")

    def _global(self, name: str) -> Callable[..., pa.Table] | None:
        fn = getattr(inspect.getmodule(inspect.unwrap(self.fn)), name, None)
        if fn is None:
            return None
        wanted = inspect.signature(fn).parameters
        return functools.partial(fn, **{k: v for k, v in self.params.items() if k in wanted})

    @property
    def measures(self) -> tuple[Callable[..., Any], ...]:
        """What it measures on the planes of images: `MEASURES` of its module, taken with those of other filters at one go."""
        return tuple(getattr(inspect.getmodule(inspect.unwrap(self.fn)), "MEASURES", ()))

    def check(self, params: Mapping[str, Any], where: str) -> None:
        """Raise `UserError` for the first of `params` that is not of the kind that the filter's function says."""
        for key, value in params.items():
            if key in self.kinds:
                kinds.check(key, value, self.kinds[key], where)

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits of name, version, parameters and the digests of what it loads. Bounds are not in it."""
        params = {k: path_digest(Path(v)) if is_path(k) and v is not None else v for k, v in self.params.items()}
        return fingerprint({"name": self.name, "version": self.version, "params": plain(params)})

    def score(self, batch: pa.RecordBatch, images: Any = None) -> pa.RecordBatch:
        """Return the scores of `batch`, checked: the declared columns and types, one row per sample."""
        args = (batch, images) if self.needs_images else (batch,)
        out = self.fn(*args, **self.params)
        want = pa.schema(list(self.scores.items()))
        if out.num_rows != batch.num_rows or not out.schema.equals(want):
            msg = (
                f"filter `{self.name}` is broken: expected {batch.num_rows} rows of {want.names}, "
                f"got {out.num_rows} rows of {out.schema.names}"
            )
            raise TypeError(msg)
        return out


def plain(value: Any) -> Any:
    """Return `value` with floats as their shortest decimal string: canonical JSON of floats is a trap across languages."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


@functools.lru_cache(maxsize=256)
def _path_digest(path: Path, stamp: tuple[tuple[str, int, int], ...]) -> str:
    if path.is_dir():
        return layout_digest((name, size, file_digest(path / name)) for name, size, _ in stamp)
    return file_digest(path)


def _stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Return (name, bytes, time of change) of the files: a folder's own time does not move when a file in it is rewritten."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return tuple((p.relative_to(path).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files)


def remote_model(name: str) -> bool:
    """Tell whether `name` reads like a model of open_clip, `<arch>/<tag>` or `hf-hub:<repo>`, rather than a path."""
    if name.startswith("hf-hub:"):
        return True
    arch, _, tag = name.partition("/")
    return bool(tag) and "/" not in tag and arch[:1] not in (".", "~", "") and _is_arch(arch)


def _is_arch(arch: str) -> bool:
    import open_clip  # only to read its list of architectures: no torch work, and only for names that are no path

    return arch in open_clip.list_models()


def path_digest(path: Path) -> str:
    """Return the content digest of a file or of all files of a folder; raise `UserError` when it is not there."""
    if not path.exists() and remote_model(path.as_posix()):
        return json_digest({"open_clip": path.as_posix()})  # the weights behind a published tag do not change
    if not path.exists():
        msg = f"no such model or index: `{path}`"
        raise UserError(msg, usage=True)
    return _path_digest(path, _stamp(path))


def scorer(
    *,
    version: int,
    scores: Mapping[str, pa.DataType],
    bounds: Mapping[str, Bound],
    needs_model: bool = False,
    pooled: Mapping[str, pa.DataType] | None = None,
) -> Callable[[Callable[..., pa.RecordBatch]], Filter]:
    """Turn a function into a `Filter` named after its file. Raise `version` when its numbers change."""

    def wrap(fn: Callable[..., pa.RecordBatch]) -> Filter:
        arguments = inspect.signature(fn, eval_str=True).parameters
        own = {k: p for k, p in arguments.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
        empty = inspect.Parameter.empty
        return Filter(
            name=fn.__module__.rpartition(".")[2],
            version=version,
            scores=dict(scores),
            bounds=dict(bounds),
            fn=fn,
            needs_images="images" in arguments,
            needs_model=needs_model,
            params={k: None if p.default is empty else p.default for k, p in own.items()},
            kinds={k: p.annotation for k, p in own.items() if p.annotation is not empty},
            doc=inspect.getdoc(inspect.getmodule(fn)) or "",
            pooled=dict(pooled or {}),
            required=tuple(k for k, p in own.items() if p.default is empty and k != "index"),
        )

    return wrap


def names() -> list[str]:
    """Return the names of all filters: the files of this folder but this one."""
    import filters

    return sorted(m.name for m in pkgutil.iter_modules(filters.__path__) if m.name != "base" and not m.ispkg)


def load(name: str, params: Mapping[str, Any] | None = None) -> Filter:
    """Return the filter `name` with `params` bound; raise `UserError` for a name or parameter that does not exist."""
    if name not in names():
        msg = f"no filter named `{name}`{nearest(name, names())}"
        raise UserError(msg, hint="`cuvee filters -k WORD` finds filters by what they are about", usage=True)
    found = getattr(importlib.import_module(f"filters.{name}"), name)
    assert isinstance(found, Filter)
    params = dict(params or {})
    for key in params:
        if key not in found.params:
            msg = f"filter `{name}` has no parameter `{key}`{nearest(str(key), found.params)}"
            raise UserError(msg, usage=True)
    return dataclasses.replace(found, params={**found.params, **params})


def every() -> Iterator[Filter]:
    """Yield every filter with its default parameters."""
    return (load(name) for name in names())
