"""Where everything lies on disk, and the immutable records that name their inputs by content hash.

    <root>/sources/<name>/<digest>/{samples,media,rejects}/00017.*  source.json
           scores/<filter>@<fingerprint>/<source digest>/00017.parquet
           datasets/<name>/<version>/{heads,kept}/<source>/00017.parquet  verdicts/<source>/00017/<stage>.<score>.parquet
                                     clusters/<filter>.parquet  columns.json  dataset.json  report.html
           mixtures/<name>/<version>/mixture.lock.json  members/<component>.arrow
           runs/<id>/
           catalog.sqlite

Folder names hold the first 16 hex digits of a digest. Nothing is overwritten. What lies under a `.work` folder is unfinished.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.errors import UserError, nearest
from catalog.files import read_json, write_json
from catalog.schema import KEPT, VERDICT
from catalog.shards import read_table, shard_name

SHORT = 16


@dataclass(frozen=True, kw_only=True)
class SourceVersion:
    """One ingested source. `volatile` (times, paths, tool version) is not part of its identity."""

    name: str
    digest: str  # ids, contents, labels of samples, places and codes of rejects, role, licence; not the cut into shards
    layout: str  # sha256 over (name, bytes, sha256) of all shard files
    role: str  # train | eval
    license: str
    shards: int  # samples/00000.parquet .. ; a shard may hold 0 samples
    shard_rows: int  # input rows per shard
    rows: int  # input rows read = samples + rejects
    samples: int
    rejects: int
    rejected: Mapping[str, int]  # by code
    tasks: Mapping[str, int]  # samples by task
    media: Mapping[str, int]  # media by kind
    spec: Mapping[str, Any]  # what was asked of the reader
    volatile: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """`name@digest`, digest shortened."""
        return f"{self.name}@{self.digest[:SHORT]}"


@dataclass(frozen=True, kw_only=True)
class DatasetVersion:
    """What a run of a recipe decided about its sources."""

    name: str
    digest: str  # sha256 of the canonical JSON of everything here but digest and volatile
    recipe: Mapping[str, Any]  # resolved: stages with fingerprints, parameters and bounds (numbers as decimal strings)
    sources: tuple[Mapping[str, Any], ...]  # {name, digest, samples, rejects, kept, license}
    counts: Mapping[str, int]  # rows, rejected, dropped, kept; rows = rejected + dropped + kept
    ledger: str  # digest of the verdicts
    content: str  # digest of the kept (id, digest) rows, sorted
    decontamination: tuple[Mapping[str, Any], ...]  # {filter, suite: [{name, digest}], hits}
    volatile: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The name of this version's folder."""
        return self.digest[:SHORT]

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def _from_json(cls: type[Any], path: Path) -> Any:
    raw = read_json(path)
    fields = {f.name for f in dataclasses.fields(cls)}
    if not isinstance(raw, dict) or not fields <= set(raw) | {"volatile"}:
        msg = f"`{path}` is not a {cls.__name__} record"
        raise UserError(msg)
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in fields})


class Store:
    """A folder that holds sources, scores, dataset versions, mixtures and runs."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    # -- where things lie ------------------------------------------------------------------------------------------

    def source_dir(self, name: str, digest: str) -> Path:
        """Return the folder of one source version."""
        return self.root / "sources" / name / digest[:SHORT]

    def score_path(self, filter_name: str, fingerprint: str, source_digest: str, shard: int) -> Path:
        """Return the file that holds a filter's scores of one source shard."""
        folder = self.root / "scores" / f"{filter_name}@{fingerprint}" / source_digest[:SHORT]
        return folder / shard_name(shard, "parquet")

    def dataset_dir(self, name: str, version: str) -> Path:
        """Return the folder of one dataset version."""
        return self.root / "datasets" / name / version[:SHORT]

    def mixture_dir(self, name: str, version: str) -> Path:
        """Return the folder of one mixture version."""
        return self.root / "mixtures" / name / version

    def run_dir(self, run: str) -> Path:
        """Return the folder of one training run."""
        return self.root / "runs" / run

    # -- source versions -------------------------------------------------------------------------------------------

    def save_source(self, version: SourceVersion, folder: Path) -> None:
        """Write `source.json` into `folder`."""
        write_json(folder / "source.json", dataclasses.asdict(version))

    def sources(self) -> list[SourceVersion]:
        """Return every source version, by name and then by time of ingest."""
        found = [_from_json(SourceVersion, p) for p in sorted(self.root.glob("sources/*/*/source.json"))]
        return sorted(found, key=lambda s: (s.name, str(s.volatile.get("created_at", "")), s.digest))

    def source(self, ref: str) -> SourceVersion:
        """Return the source version that `name` (latest) or `name@digest` (any prefix) names."""
        found = _pick(ref, self.sources(), "source", lambda s: s.digest)
        assert isinstance(found, SourceVersion)
        return found

    def samples(self, source: SourceVersion, shard: int, columns: list[str] | None = None) -> pa.Table:
        """Return the SAMPLE table of one shard."""
        path = self.source_dir(source.name, source.digest) / "samples" / shard_name(shard, "parquet")
        return read_table(path, columns)

    def rejects(self, source: SourceVersion) -> Iterator[pa.Table]:
        """Yield the REJECT table of every shard."""
        folder = self.source_dir(source.name, source.digest) / "rejects"
        return (read_table(folder / shard_name(i, "parquet")) for i in range(source.shards))

    # -- dataset versions ------------------------------------------------------------------------------------------

    def save_dataset(self, version: DatasetVersion, folder: Path) -> None:
        """Write `dataset.json` into `folder`."""
        write_json(folder / "dataset.json", dataclasses.asdict(version))

    def datasets(self) -> list[DatasetVersion]:
        """Return every dataset version, by name and then by time."""
        found = [_from_json(DatasetVersion, p) for p in sorted(self.root.glob("datasets/*/*/dataset.json"))]
        return sorted(found, key=lambda d: (d.name, str(d.volatile.get("created_at", "")), d.digest))

    def dataset(self, ref: str) -> DatasetVersion:
        """Return the dataset version that `name` (latest) or `name@version` (any prefix) names."""
        found = _pick(ref, self.datasets(), "dataset", lambda d: d.digest)
        assert isinstance(found, DatasetVersion)
        return found

    def kept(self, dataset: DatasetVersion, source: str) -> pa.Table:
        """Return the KEPT rows of one source in a dataset version, in shard and row order."""
        folder = self.dataset_dir(dataset.name, dataset.version) / "kept" / source
        return pa.concat_tables([KEPT.empty_table(), *(read_table(p) for p in sorted(folder.glob("*.parquet")))])

    def verdicts(self, dataset: DatasetVersion, source: str) -> pa.Table:
        """Return the VERDICT rows of one source in a dataset version."""
        folder = self.dataset_dir(dataset.name, dataset.version) / "verdicts" / source
        return pa.concat_tables([VERDICT.empty_table(), *(read_table(p) for p in sorted(folder.glob("*/*.parquet")))])


def _pick(ref: str, versions: list[Any], what: str, digest_of: Any) -> Any:
    name, _, prefix = ref.partition("@")
    named = [v for v in versions if v.name == name]
    if not named:
        msg = f"no {what} named `{name}`{nearest(name, {v.name for v in versions})}"
        raise UserError(msg, hint="`cuvee catalog ls` lists what is there")
    if not prefix:
        return named[-1]
    matching = {digest_of(v): v for v in named if digest_of(v).startswith(prefix)}
    if len(matching) != 1:
        have = ", ".join(f"`{digest_of(v)[:SHORT]}`" for v in named)
        msg = f"{'no' if not matching else 'more than one'} version `{prefix}` of {what} `{name}`; there are {have}"
        raise UserError(msg)
    return next(iter(matching.values()))
