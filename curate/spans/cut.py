"""Cutting: source versions become others in which a span that stands in several places stands only in the first.

    measure   ids and sizes of the texts that take part          per shard
    order     the address of every text                          at one go
    keys      lines, paragraphs, picks of grams: sorted runs     per shard
    merge     which of them repeat                               per part of the keys
    windows   every window of N bytes whose pick repeats         per shard
    merge     which of them repeat                               per part
    write     the new shard, and a row for every cut             per shard
    verify    is all that was cut where the rows say?            per few shards

Each step writes files into `.work`, whole or not at all; a killed run goes on where it was. The first place is that with the
smallest address: sources in the order named, samples by id. Nothing depends on shards, workers, engines or interruptions.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.digests import fingerprint, layout_digest
from catalog.errors import UserError
from catalog.files import alone, publish, read_json, remove, sweep, write_json
from catalog.shards import shard_name
from catalog.store import SourceVersion, Store
from curate.engines.base import Engine
from curate.rewrite import check_name, version_digest
from curate.spans import runs
from curate.spans.find import KINDS, Keys, Rules, Windows
from curate.spans.texts import Measure, Shard, put_in_order
from curate.spans.write import Verify, Write

RULES = 1  # raise it when the same versions would give other bytes
BLOCK = 8  # shards whose texts are in memory at once while claims on them are held against them

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What cutting did to one source."""

    of: SourceVersion
    version: SourceVersion  # `of` itself where nothing was cut under its own name
    summary: dict[str, Any]  # texts, bytes, changed, spared, emptied, cuts and cut_bytes by kind


def cut(
    store: Store,
    versions: Sequence[SourceVersion],
    *,
    rules: Rules,
    against: Sequence[SourceVersion] = (),
    name: str = "{}",
    engine: Engine,
    progress: Progress = lambda step, done, total: None,
) -> list[Made]:
    """Write each of `versions` anew without its repeated spans, as source `name` (`{}`: its own), and return what was made.

    All are looked at together, in this order: the first place keeps the span. What stands in `against` counts as earlier
    still, and is not cut. `progress` hears (step, done, in all). The same arguments give the same bytes on any engine.
    """
    every = [*against, *versions]
    names = [name.replace("{}", v.name) for v in versions]
    _check(every, versions, names)
    asked = {
        "sources": [[v.name, v.digest, v.layout] for v in every],
        "against": len(against),
        "as": names,
        "rules": rules.record(),
        "version": RULES,
    }
    key = fingerprint(asked)
    homes = [store.root / "sources" / n for n in names]
    with contextlib.ExitStack() as held:
        for home in sorted(homes):  # in one order, so that two commands cannot wait for each other
            held.enter_context(alone(home))
        known = _known(store, versions, names, homes, key)
        if known is None:
            known = _Cutting(
                store=store,
                every=every,
                frozen=len(against),
                names=names,
                rules=rules,
                key=key,
                engine=engine,
                hear=progress,
            ).run()
        return known


def _check(every: Sequence[SourceVersion], versions: Sequence[SourceVersion], names: Sequence[str]) -> None:
    if not versions:
        msg = "no source is named to cut from"
        raise UserError(msg, usage=True)
    twice = [n for n, often in Counter(v.name for v in every).items() if often > 1]
    if twice:
        msg = f"source `{twice[0]}` is named twice"
        raise UserError(msg, usage=True)
    if len(set(names)) < len(names):
        msg = f"{len(names)} sources cannot all be named `{names[0]}`"
        raise UserError(msg, hint="`--as '{}-cut'`: `{}` stands for a source's own name", usage=True)
    for n in names:
        check_name(n)


def _known(
    store: Store, versions: Sequence[SourceVersion], names: Sequence[str], homes: Sequence[Path], key: str
) -> list[Made] | None:
    out = []
    for old, name, home in zip(versions, names, homes, strict=True):
        record = home / "cuts" / f"{key}.json"
        if not record.exists():
            return None
        said = read_json(record)
        if not (store.source_dir(name, said["digest"]) / "source.json").exists():
            return None
        out.append(Made(of=old, version=store.source(f"{name}@{said['digest']}"), summary=said["summary"]))
    return out


@dataclass(frozen=True, kw_only=True)
class _Cutting:
    """One run of all steps."""

    store: Store
    every: Sequence[SourceVersion]
    frozen: int  # so many of them, the first, are not cut
    names: Sequence[str]
    rules: Rules
    key: str
    engine: Engine
    hear: Progress

    def run(self) -> list[Made]:
        began = time.time()
        work = (self.store.root / "sources" / self.names[0] / ".work" / f"cut-{self.key}").absolute()
        sweep(work)
        sources = tuple(self.store.source_dir(v.name, v.digest).absolute() for v in self.every)
        shards: list[Shard] = []
        for n, v in enumerate(self.every):
            shards += [Shard(number=len(shards) + k, source=n, of=k) for k in range(v.shards)]
        shared: dict[str, Any] = {"sources": sources, "work": work, "rules": self.rules}
        self._order(work, sources, shards)

        task = Keys(**shared)
        sizes = sum((Counter(s) for s in self._map("keys", task, shards)), Counter())
        repeated = {
            kind: self._merge(work, kind, shards, sizes[kind], self.rules.units[kind].times if kind != "gram" else 2)
            for kind in [*self.rules.units, *(["gram"] if self.rules.substring else [])]
        }
        if self.rules.substring:
            size = sum(self._map("windows", Windows(**shared, grams=repeated["gram"]), shards))
            repeated["window"] = self._merge(work, "window", shards, size, 2)

        old = tuple(v.name for v in self.every)
        new = (*old[: self.frozen], *self.names)
        write = Write(**shared, repeated=repeated, old=old, new=new)
        mine = [s for s in shards if s.source >= self.frozen]
        notes = sorted(self._map("write", write, mine), key=lambda s: (s["source"], s["number"]))
        verify = Verify(**shared, shards=tuple(shards), written=tuple(s.number for s in mine))
        blocks = [(k, min(k + BLOCK, len(shards))) for k in range(0, len(shards), BLOCK)]
        for _ in self._map("verify", verify, blocks):
            pass
        made = [
            self._publish(n, write.folder(n), [s for s in notes if s["source"] == n], began)
            for n in range(self.frozen, len(self.every))
        ]
        for m, name in zip(made, self.names, strict=True):
            home = self.store.root / "sources" / name / "cuts"
            write_json(home / f"{self.key}.json", {"digest": m.version.digest, "summary": m.summary})
        remove(work)
        return made

    def _map(self, step: str, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        self.hear(step, 0, len(items))
        for done, out in enumerate(self.engine.map(task, items), 1):
            self.hear(step, done, len(items))
            yield out

    def _order(self, work: Path, sources: tuple[Path, ...], shards: Sequence[Shard]) -> None:
        measure = Measure(sources=sources, folder=work / "measured", roles=self.rules.roles, media=self.rules.media)
        texts = sum(t for _, t, _ in self._map("measure", measure, shards))
        if not texts:
            remove(work)
            msg = f"no sample has a text of {' or '.join(f'`{r}`' for r in self.rules.roles)} to look at"
            hint = "" if self.rules.media else "samples with media are left alone unless `--with-media` says otherwise"
            raise UserError(msg, hint=hint, usage=True)
        put_in_order(work / "measured", work / "places", shards)

    def _merge(self, work: Path, kind: str, shards: Sequence[Shard], rows: int, least: int) -> runs.Repeated:
        return runs.merged(
            [work / "runs" / kind / shard_name(s.number, "arrow") for s in shards],
            work / "repeated" / kind,
            rows=rows,
            least=least,
            mapped=lambda task, items: self._map(f"merge {kind}s", task, items),
        )

    def _publish(self, source: int, folder: Path, notes: Sequence[dict[str, Any]], began: float) -> Made:
        old, name = self.every[source], self.names[source - self.frozen]
        samples, rejects = sum(s["samples"] for s in notes), sum(s["rejects"] for s in notes)
        emptied = sum(s["emptied"] for s in notes)
        if (len(notes), samples + rejects, samples + emptied) != (old.shards, old.rows, old.samples):
            msg = (
                f"`{old.ref}` does not add up: {old.samples} samples and {old.rejects} rejects in its record, "
                f"{samples + emptied} and {rejects - emptied} in its shards"
            )
            raise UserError(msg, hint="its shards were changed after ingest: ingest it again")

        def counted(what: str) -> dict[str, int]:
            return dict(sorted(sum((Counter(s[what]) for s in notes), Counter()).items()))

        summary = {
            **{k: sum(s[k] for s in notes) for k in ("texts", "bytes", "changed", "spared", "emptied")},
            "cuts": {k: counted("cuts").get(k, 0) for k in KINDS},
            "cut_bytes": {k: counted("cut_bytes").get(k, 0) for k in KINDS},
        }
        version = replace(
            old,
            name=name,
            digest=version_digest(folder, old),
            layout=layout_digest((n, size, d) for s in notes for n, size, d in s["files"]),
            samples=samples,
            rejects=rejects,
            rejected=counted("rejected"),
            tasks=counted("tasks"),
            media=counted("media"),
            spec={
                "format": "cut",
                "of": old.ref,
                "digest": old.digest,
                "order": [
                    {"source": v.ref, "digest": v.digest, "cut": n >= self.frozen} for n, v in enumerate(self.every)
                ],
                **self.rules.record(),
                **summary,
            },
            volatile={
                "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
                "seconds": round(time.time() - began, 3),
                "engine": self.engine.name,
                "workers": self.engine.workers,
            },
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.store.save_source(version, folder)
        publish(folder, self.store.source_dir(name, version.digest))
        return Made(of=old, version=self.store.source(f"{name}@{version.digest}"), summary=summary)


def summary_of(made: Sequence[Made]) -> list[dict[str, Any]]:
    """Return what cutting did, for JSON: a record per source."""
    return [
        {
            "source": m.of.ref,
            "made": m.version.ref,
            "samples": m.version.samples,
            "rejects": m.version.rejects,
            **m.summary,
        }
        for m in made
    ]


def table_of(made: Sequence[Made]) -> list[dict[str, Any]]:
    """Return what cutting did, for people: a row per source."""
    return [
        {
            "source": m.of.ref,
            "made": m.version.ref if m.version != m.of else "(nothing to cut)",
            "samples": f"{m.version.samples:,}",
            "changed": f"{m.summary['changed']:,}",
            "emptied": f"{m.summary['emptied']:,}",
            "spared": f"{m.summary['spared']:,}",
            **{f"{k}s": f"{m.summary['cuts'][k]:,}" for k in KINDS[:3]},
            "bytes cut": f"{sum(m.summary['cut_bytes'].values()):,}",
            "of": f"{sum(m.summary['cut_bytes'].values()) / max(1, m.summary['bytes']):.2%}",
        }
        for m in made
    ]
