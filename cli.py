"""The command `cuvee`: parses and calls. Data goes to standard output, everything else to standard error.

Exit codes: 0 done, 1 failed, 2 wrong use. What each command does lives in `catalog`, `curate`, `mixtures` and `trainer`.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from catalog.console import Step, bars, emit, finite, say, short, table
from catalog.errors import UserError

STORE = click.option(
    "--store", type=click.Path(path_type=Path), default=Path("store"), envvar="CUVEE_STORE", show_default=True,
    help="The folder that holds sources, scores, datasets, mixtures and runs.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
DATA = click.option(
    "--data", type=click.Path(path_type=Path), default=None,
    help="Where the recipe's paths start.  [default: the recipe's folder; this one for a shipped recipe]",
)  # fmt: skip


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose an engine."""
    for option in (
        click.option("--ray-address", default=None, help="A running Ray cluster; implies --engine ray."),
        click.option("--workers", type=click.IntRange(1), default=None, help="Worker processes.  [default: the cores]"),
        click.option("--engine", default="local", show_default=True, help="Where work runs: local or ray."),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def opened(name: str, workers: int | None, address: str | None) -> Iterator[Any]:
    """Open an engine and close it whatever happens."""
    from curate.engines.choose import choose

    engine = choose("ray" if address else name, workers=workers, address=address)
    try:
        yield engine
    finally:
        engine.close()


class Group(click.Group):
    """A command group that offers the nearest name for one that does not exist."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that `args` names."""
        if args and self.get_command(ctx, args[0]) is None:
            from catalog.errors import nearest

            msg = f"no command `{args[0]}`{nearest(args[0], self.commands)}"
            raise UserError(msg, hint=f"`{ctx.command_path} --help` lists the commands", usage=True)
        return super().resolve_command(ctx, args)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="cuvee", prog_name="cuvee")
def cuvee() -> None:
    """Curate multimodal training data, blend it into versioned mixtures, prove that the blend is better.

    \b
    cuvee demo                                  all of it on a planted corpus
    cuvee plan recipe.yaml                      what a run would do
    cuvee run recipe.yaml                       sources in, dataset version out
    cuvee what-if --set clip_score.min=0.3      other bounds, nothing scored again
    cuvee mix lock mixture.yaml                 a versioned mixture
    cuvee validate experiment.yaml              is the curated mixture better?
    """


def found_recipe(recipe: Path, data: Path | None) -> tuple[Any, Path]:
    """Return the recipe at a path, or the shipped one of that name, and the folder that its sources' paths start at."""
    from curate import places, shipped
    from curate import recipe as recipes

    path, folder = shipped.find(recipe)
    return places.located(recipes.read(path), folder), data or folder


# -- data in -----------------------------------------------------------------------------------------------------------


@cuvee.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--size", type=click.IntRange(20), default=1000, show_default=True, help="Training samples.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes.")
@JSON
def synth(out: Path, size: int, seed: int, workers: int, as_json: bool) -> None:
    """Write a planted corpus to OUT: raw data in five formats with labelled defects, and the truth apart.

    \b
    cuvee synth planted --size 2000 --seed 7
    """
    from curate.synth.make import make

    with bars() as progress:
        summary = make(out, size=size, seed=seed, workers=workers, progress=lambda d, t: progress("synth", d, t))
    if as_json:
        emit(summary)
    else:
        table([{"what": k, "value": str(v)} for k, v in summary.items()])


@cuvee.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@DATA
@STORE
@engine_options
@JSON
def ingest(
    recipe: Path,
    data: Path | None,
    store: Path,
    engine: str,
    workers: int | None,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Read the sources of RECIPE into the store, without filtering anything.

    \b
    cuvee ingest recipe.yaml --data /data
    """
    from catalog.store import Store
    from curate.run import ingest_all

    spec, folder = found_recipe(recipe, data)
    with opened(engine, workers, ray_address) as eng, bars() as progress:
        found = ingest_all(spec, Store(store), engine=eng, data=folder, progress=progress)
    rows = [
        {"source": s.ref, "role": s.role, "rows": s.rows, "samples": s.samples, "rejects": s.rejects,
         "rejected": dict(s.rejected) if as_json else ", ".join(f"{k} {v}" for k, v in sorted(s.rejected.items()))}
        for s in found.values()
    ]  # fmt: skip
    emit(rows) if as_json else table(rows)


@cuvee.command()
@click.argument("source")
@click.option(
    "--kinds",
    required=True,
    help="What to mask, joined by commas (secret, email, phone, card, iban, ssn, ip, ip_local), or all.",
)
@click.option("--as", "name", default=None, help="Name of the masked source.  [default: its own, as a new version]")
@click.option(
    "--meta",
    type=click.Choice(["mask", "drop", "keep"]),
    default="mask",
    show_default=True,
    help="What becomes of `meta`.",
)
@STORE
@engine_options
@JSON
def mask(
    source: str,
    kinds: str,
    name: str | None,
    meta: str,
    store: Path,
    engine: str,
    workers: int | None,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Write a new version of the stored SOURCE in which personal data and secrets are placeholders.

    A recipe takes it as `{name: NAME, format: stored}`. `cuvee filters show pii --source SOURCE` counts first.

    \b
    cuvee mask pages --kinds email,phone --as pages-masked
    """
    from catalog.store import Store
    from curate.mask import mask as write_masked
    from filters.shared.pii import KINDS

    where = Store(store)
    version = where.source(source)
    wanted = list(KINDS) if kinds == "all" else words_of(kinds)
    with opened(engine, workers, ray_address) as eng, bars() as progress:
        made = write_masked(
            where, version, kinds=wanted, name=name, meta=meta, engine=eng,
            progress=lambda done, total: progress(f"mask {version.name}", done, total),
        )  # fmt: skip
    found = made.digest != version.digest
    hits = dict(made.spec["hits"]) if found else {}
    places = dict(made.spec["hits_in"]) if found else {}
    changed = made.spec["changed"] if found else 0
    if as_json:
        emit({"source": version.ref, "masked": made.ref, "samples": made.samples, "changed": changed, "hits": hits,
              "hits_in": places})  # fmt: skip
        return
    if not found:
        say("nothing was found: the version stays what it is")
    else:
        table([{"kind": k, "masked": n, **{f"in {p}": places[p][k] for p in places}} for k, n in hits.items()])
    click.echo(f"source   {made.ref}  {made.samples:,} samples, {changed:,} changed")


@cuvee.command("cut")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--kinds", required=True, help="What to cut, joined by commas: lines, paragraphs, substrings, or all.")
@click.option("--line-times", type=int, default=7, show_default=True, help="Lines: cut where so many samples have it.")
@click.option("--line-characters", type=int, default=20, show_default=True, help="Lines: not shorter ones.")
@click.option(
    "--paragraph-times", type=int, default=2, show_default=True, help="Paragraphs: where so many samples have it."
)
@click.option("--paragraph-characters", type=int, default=100, show_default=True, help="Paragraphs: not shorter ones.")
@click.option("--bytes", "size", type=int, default=200, show_default=True, help="Substrings: so many bytes or more.")
@click.option("--roles", default="assistant", show_default=True, help="Whose messages, joined by commas.")
@click.option(
    "--with-media", is_flag=True, help="Samples with media, too: answers then say less than the picture shows."
)
@click.option("--within", is_flag=True, help="Also what one sample says twice.")
@click.option(
    "--against", multiple=True, metavar="SOURCE", help="Counts as earlier and is not cut. Repeat for several."
)
@click.option(
    "--as", "name", default="{}", help="Name of what is made; {} is the source's own.  [default: {}, a new version]"
)
@STORE
@engine_options
@JSON
def cut_command(sources: Sequence[str], kinds: str, line_times: int, line_characters: int, paragraph_times: int,
                paragraph_characters: int, size: int, roles: str, with_media: bool, within: bool, against: Sequence[str],
                name: str, store: Path, engine: str, workers: int | None, ray_address: str | None,
                as_json: bool) -> None:  # fmt: skip
    """Write new versions of stored SOURCEs in which lines, paragraphs and substrings that repeat stand once.

    The first place keeps a span: sources in the order given, samples by id. A row for every cut says which place that is.

    \b
    cuvee cut pages --kinds lines,paragraphs
    cuvee cut notes wiki --kinds substrings --bytes 400 --as '{}-cut'
    cuvee cut new --against old --kinds all
    """
    from catalog.store import Store
    from curate.spans.cut import cut, summary_of, table_of
    from curate.spans.find import ASKED, Rules, Units

    where = Store(store)
    rules = Rules.of(
        ASKED if kinds == "all" else words_of(kinds), lines=Units(times=line_times, characters=line_characters),
        paragraphs=Units(times=paragraph_times, characters=paragraph_characters), size=size,
        roles=tuple(words_of(roles)), media=with_media, within=within,
    )  # fmt: skip
    frozen, versions = ([where.source(s) for s in names] for names in (against, sources))
    with opened(engine, workers, ray_address) as eng, bars() as progress:
        made = cut(where, versions, rules=rules, against=frozen, name=name, engine=eng, progress=progress)
    emit(summary_of(made)) if as_json else table(table_of(made))


def words_of(text: str) -> list[str]:
    """Return the words that commas join."""
    return [w.strip() for w in text.split(",") if w.strip()]


# -- curation ----------------------------------------------------------------------------------------------------------


@cuvee.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@DATA
@STORE
@JSON
def plan(recipe: Path, data: Path | None, store: Path, as_json: bool) -> None:
    """Show what `run` would do with RECIPE: sources, passes and what they share, what is stored already, how many samples.

    \b
    cuvee plan recipe.yaml --data /data
    cuvee plan recipe.yaml --json | jq .passes
    """
    from catalog.store import Store
    from curate import needs, show
    from curate.plan import plan as make_plan

    spec, folder = found_recipe(recipe, data)
    wanted_mixture(spec)
    out = make_plan(spec, Store(store), data=folder) | {"needs": needs.needs(spec)}
    if as_json:
        emit(out)
        return
    show.plan(out)


@cuvee.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@DATA
@STORE
@engine_options
@click.option(
    "--gpu-share", type=click.FloatRange(0, 1, min_open=True), default=0.25, show_default=True,
    help="Share of a GPU for each worker that runs a network: 0.25 lets four of them decode for one card.",
)  # fmt: skip
@JSON
def run(
    recipe: Path,
    data: Path | None,
    store: Path,
    engine: str,
    workers: int | None,
    ray_address: str | None,
    gpu_share: float,
    as_json: bool,
) -> None:
    """Run RECIPE: ingest, fit, score, deduplicate, decontaminate, judge; ends in a dataset version and its report.

    A mixture that the recipe describes is locked as well. Run it again after an interruption: it goes on where it was.

    \b
    cuvee run recipe.yaml --data /data --workers 8
    cuvee run recipe.yaml --data /data --engine ray
    """
    from catalog.store import Store
    from curate import needs, show

    spec, folder = found_recipe(recipe, data)
    if not ray_address:  # on a cluster it is the workers that need them
        needs.check(spec)
    with opened(engine, workers, ray_address) as eng, bars() as progress:
        out = curated(spec, Store(store), eng, folder, progress, gpu_share=gpu_share)
    for warning in show.losses(Store(store), out["dataset"]):
        say(f"warning: {warning}")
    if as_json:
        emit(out)
        return
    show.funnel(out)
    for key in ("dataset", "mixture", "report"):
        if out.get(key):
            click.echo(f"{key:<8} {out[key]}")
    say(f"next: cuvee what-if {out['dataset']} --set ...   cuvee why ID   cuvee mix lock mixture.yaml")


def curated(
    spec: Any, store: Any, engine: Any, data: Path, progress: Step, *, gpu_share: float = 0.25
) -> dict[str, Any]:
    """Run a recipe, write its report and lock its mixture; return their names and the funnel."""
    from catalog.ledger import Ledger, funnel
    from curate import report
    from curate.run import run as run_recipe
    from mixtures import lock as locks

    wanted = wanted_mixture(spec)  # read first: a wrong key should not wait for hours of scoring
    result = run_recipe(spec, store, engine=engine, data=data, progress=progress, gpu_share=gpu_share)
    dataset = result.dataset
    folder = store.dataset_dir(dataset.name, dataset.version)
    page = folder / "report.html"
    if not page.exists():
        progress("report", 0, 1)
        report.write(store, dataset, page)
        progress("report", 1, 1)
    mixture = locks.lock(wanted, store) if wanted else None
    ledger = Ledger(store, dataset)
    return {
        "dataset": dataset.ref,
        "digest": dataset.digest,
        "ledger": dataset.ledger,
        "content": dataset.content,
        "mixture": str(mixture) if mixture else None,
        "mixture_id": json.loads(mixture.read_bytes())["id"] if mixture else None,
        "counts": dict(dataset.counts),
        "sources": [dict(s) for s in dataset.sources],
        "funnel": funnel(ledger.rules, ledger.keep_matrix()),
        "work": dict(result.work),
        "report": str(page),
    }


def wanted_mixture(spec: Any) -> Any:
    """Return the mixture that a recipe describes, or None; raise `UserError` for one that cannot be read."""
    import yaml

    from mixtures import spec as specs

    if spec.mixture is None:
        return None
    # Through YAML text, because a mixture spec reads its numbers as the decimals that are written.
    text = yaml.safe_dump(dict(spec.mixture), sort_keys=False)
    return specs.parse(text, where=f"mixture of recipe `{spec.name}`")


@cuvee.command()
@click.argument("id_", metavar="ID")
@click.option("--dataset", default=None, help="Dataset version, `name` or `name@version`.  [default: the latest run]")
@STORE
@JSON
def why(id_: str, dataset: str | None, store: Path, as_json: bool) -> None:
    """Say why the sample ID was kept, dropped or rejected: every score, bound and match, with the texts and media of both.

    \b
    cuvee why scenes/records.jsonl:17
    """
    from catalog.store import Store
    from curate import show
    from curate.why import why as look

    where = Store(store)
    out = look(where, latest(where, dataset, source=id_.partition("/")[0]), id_)
    emit(out) if as_json else show.why(out)


@cuvee.group(cls=Group)
def dedup() -> None:
    """Duplicates: what each stage found, pairs side by side, the S-curve of MinHash."""


@dedup.command("ls")
@click.argument("dataset", required=False)
@STORE
@JSON
def dedup_ls(dataset: str | None, store: Path, as_json: bool) -> None:
    """List the deduplicating stages of DATASET (`name` or `name@version`; default: the latest run) and what they found.

    \b
    cuvee dedup ls real
    """
    from catalog.ledger import Ledger
    from catalog.store import Store
    from curate import show
    from curate.dedup.explain import stages

    where = Store(store)
    found = latest(where, dataset)
    out = stages(found, Ledger(where, found))
    emit(out) if as_json else show.clusters(out)


@dedup.command("explain")
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--dataset", default=None, help="Dataset version, `name` or `name@version`.  [default: the latest run]")
@click.option("--stage", default=None, help="Only what this stage found.  [default: all]")
@click.option(
    "--order",
    default="doubtful",
    show_default=True,
    help="doubtful: least similar first; sure: most similar; large: a pair of each of the largest clusters.",
)
@click.option("-n", "--pairs", "most", type=click.IntRange(1), default=10, show_default=True, help="How many.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write an HTML page with both pictures.")
@STORE
@JSON
def dedup_explain(id_: str | None, dataset: str | None, stage: str | None, order: str, most: int, out: Path | None,
                  store: Path, as_json: bool) -> None:  # fmt: skip
    """Show dropped duplicates beside the samples that stay: those of the sample ID, or of the whole dataset version.

    \b
    cuvee dedup explain texts/texts.jsonl:6
    cuvee dedup explain --stage dedup_minhash --order doubtful -n 20 --out pairs.html
    """
    from catalog.files import write_bytes
    from catalog.store import Store
    from curate import show
    from curate.dedup.explain import page, pairs

    where = Store(store)
    found = latest(where, dataset, source=id_.partition("/")[0] if id_ else None)
    some = pairs(where, found, id_=id_, stage=stage, order=order, most=most)
    if out is not None:
        write_bytes(out, page(found.ref, some).encode())
        say(f"{len(some)} pairs: {out}")
    if as_json:
        emit(
            [{**p, **{k: {f: v for f, v in p[k].items() if f != "picture"} for k in ("dropped", "kept")}} for p in some]
        )
    elif out is None:
        show.pairs(some)


@dedup.command("curve")
@click.option("--bands", type=click.IntRange(1), default=14, show_default=True, help="Any of them may agree.")
@click.option("--rows", type=click.IntRange(1), default=8, show_default=True, help="All of a band must agree.")
@JSON
def dedup_curve(bands: int, rows: int, as_json: bool) -> None:
    """Print which share of pairs dedup_minhash finds, by their Jaccard similarity.

    \b
    cuvee dedup curve --bands 20 --rows 13
    """
    from curate import show
    from filters.shared.minhash import curve, midpoint

    points = curve(bands, rows)
    if as_json:
        emit({"bands": bands, "rows": rows, "midpoint": midpoint(bands, rows), "curve": points})
    else:
        show.curve(bands, rows, points, midpoint(bands, rows))


@cuvee.group(cls=Group)
def evals() -> None:
    """Evaluation sets: suites by digest, well-known benchmarks, what leaked, certificates checked again."""


@evals.command("ls")
@STORE
@JSON
def evals_ls(store: Path, as_json: bool) -> None:
    """List the suites of the store."""
    from catalog.store import Store
    from curate.evals import listing

    out = listing(Store(store))
    emit(out) if as_json else table(out)


@evals.command("known")
@JSON
def evals_known(as_json: bool) -> None:
    """List the well-known benchmarks whose published files `cuvee evals ingest` reads: nothing is fetched."""
    from curate.evals import known_rows

    out = known_rows()
    emit(out) if as_json else table(out)


@evals.command("ingest")
@click.argument("benchmark")
@click.argument("path")
@click.option("--as", "name", default="", help="Name of the source.  [default: the benchmark's]")
@STORE
@engine_options
@JSON
def evals_ingest(benchmark: str, path: str, name: str, store: Path, engine: str, workers: int | None, ray_address: str | None,
                 as_json: bool) -> None:  # fmt: skip
    """Read a local copy of a well-known BENCHMARK (a folder, a file or a pattern) as an evaluation set.

    \b
    cuvee evals ingest gsm8k /data/gsm8k
    """
    from catalog.store import Store
    from curate.evals import add_known

    with opened(engine, workers, ray_address) as eng:
        found = add_known(Store(store), benchmark, path, engine=eng, data=Path(), as_name=name)
    row = {
        "source": found.ref,
        "role": found.role,
        "rows": found.rows,
        "samples": found.samples,
        "rejects": found.rejects,
    }
    emit(row) if as_json else table([row])


@evals.command("add")
@click.argument("suite")
@click.argument("sources", nargs=-1)
@click.option(
    "--from", "file", type=click.Path(path_type=Path), default=None, help="A suite that somebody shared, as JSON."
)
@STORE
@JSON
def evals_add(suite: str, sources: Sequence[str], file: Path | None, store: Path, as_json: bool) -> None:
    """Name a SUITE of evaluation sets, `name` or `name@version` (none: all of the store), or take a shared one.

    \b
    cuvee evals add core gsm8k mmlu mathvista
    cuvee evals add core --from core.json
    """
    from catalog.errors import UserError
    from catalog.store import Store
    from curate.evals import add, add_file

    if file is not None and sources:
        msg = "a shared suite names its sets itself: give either sources or `--from`"
        raise UserError(msg, usage=True)
    made = add(Store(store), suite, sources) if file is None else add_file(Store(store), file, suite)
    emit(made.to_json()) if as_json else _show_suite(made)


@evals.command("show")
@click.argument("suite")
@STORE
@JSON
def evals_show(suite: str, store: Path, as_json: bool) -> None:
    """Show the sets of a SUITE, `name` or `name@digest`; with `--json` as a file to share.

    \b
    cuvee evals show core --json > core.json
    """
    from catalog.evals import suite as find
    from catalog.store import Store

    found = find(Store(store), suite)
    emit(found.to_json()) if as_json else _show_suite(found)


def _show_suite(found: Any) -> None:
    say(found.ref)
    rows = [
        {"set": s.name, "version": s.digest[:16], "items": s.items, "license": s.license}
        | {f"with {k}": n for k, n in s.forms.items()}
        for s in found.sets
    ]
    table(rows)


@evals.command("report")
@click.argument("dataset", required=False)
@click.option("--all", "every", is_flag=True, help="Evaluation sets that were not hit as well.")
@click.option("-n", "examples", type=click.IntRange(0), default=3, show_default=True, help="Examples per set, in JSON.")
@STORE
@JSON
def evals_report(dataset: str | None, every: bool, examples: int, store: Path, as_json: bool) -> None:
    """Count per evaluation set what leaked into DATASET's sources: removed, flagged, kept (default: the latest run).

    \b
    cuvee evals report real --json        # with both texts of some hits
    """
    from catalog.store import Store
    from curate import contamination

    where = Store(store)
    found = contamination.report(where, latest(where, dataset), examples=examples)
    if as_json:
        emit(found)
        return
    for stage in found["stages"]:
        say(contamination.said(stage))
    table(contamination.table(found, every=every))


@evals.command("verify")
@click.argument("dataset", required=False)
@STORE
@JSON
def evals_verify(dataset: str | None, store: Path, as_json: bool) -> None:
    """Check the certificates of DATASET again (default: the latest run): suite, index, hits, and that none is kept.

    \b
    cuvee evals verify real
    """
    from catalog.errors import UserError
    from catalog.store import Store
    from curate import contamination

    where = Store(store)
    found = latest(where, dataset)
    checks = contamination.verify(where, found)
    if as_json:
        emit(checks)
    else:
        shown = {True: "yes", False: "NO", None: "-"}
        table([{**c, "ok": shown[c["ok"]]} for c in checks], wrap=("said",))
    if not contamination.holds(checks):
        msg = f"the certificate of `{found.ref}` does not hold"
        raise UserError(msg, hint="the lines with NO say what differs")


@cuvee.command("what-if")
@click.argument("dataset", required=False)
@click.option(
    "--set", "settings", multiple=True, required=True, help="<stage>[.<score>].<min|max|top>=<number>, or =none."
)
@STORE
@JSON
def what_if(dataset: str | None, settings: Sequence[str], store: Path, as_json: bool) -> None:
    """Count what other bounds would keep, from stored scores: nothing is scored again.

    Any score that is stored can be bounded, also one that the recipe leaves unbound.

    \b
    cuvee what-if --set clip_score.min=0.3
    cuvee what-if demo --set clip_score.top=0.5 --set blur.min=none
    """
    from catalog.store import Store
    from curate.what_if import what_if as count

    where = Store(store)
    out = count(where, latest(where, dataset), settings)
    if as_json:
        emit(out)
        return
    for note in out["notes"]:
        say(f"note: {note}")
    kept = out["kept"]
    click.echo(
        f"kept {kept['before']:,} -> {kept['after']:,} of {out['samples']:,} ({out['gained']:,} gained, {out['lost']:,} lost)"
    )
    changed = [s for s in out["stages"] if s["changed"] or s["dropped_before"] != s["dropped_after"]]
    table([{**s, "bound": " ".join(f"{k} {v}" for k, v in s["bound"].items())} for s in changed])
    click.echo()
    table(out["sources"])


def latest(store: Any, ref: str | None, *, source: str | None = None) -> Any:
    """Return the dataset version that `ref` names, or the one made last: with `source`, and with bounds, if any has them."""
    if ref is not None:
        return store.dataset(ref)
    found = store.datasets()
    if not found:
        msg = f"no dataset version in store `{store.root}`"
        raise UserError(msg, hint="`cuvee run RECIPE` makes one; `--store` names another store")

    def rank(d: Any) -> tuple[bool, bool, str]:
        has_source = source is None or any(s["name"] == source for s in d.sources)
        return has_source, bool(d.recipe.get("rules")), str(d.volatile.get("created_at", ""))

    return max(found, key=rank)


@cuvee.command()
@click.argument("dataset", required=False)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="File to write.  [default: in the store]")
@STORE
def report(dataset: str | None, out: Path | None, store: Path) -> None:
    """Write the report of a dataset version: one HTML file with funnel, histograms and galleries.

    \b
    cuvee report demo --out report.html
    """
    from catalog.store import Store
    from curate import report as reports

    where = Store(store)
    version = latest(where, dataset)
    target = out or where.dataset_dir(version.name, version.version) / "report.html"
    click.echo(str(reports.write(where, version, target)))


# -- filters and recipes -----------------------------------------------------------------------------------------------


WORDS = click.option(
    "-k", "--find", "words", multiple=True, metavar="WORD",
    help="Only filters with this in their name, scores, first sentence or sources; may be given again: all of them.",
)  # fmt: skip


@cuvee.group(cls=Group, invoke_without_command=True)
@WORDS
@JSON
@click.pass_context
def filters(ctx: click.Context, words: Sequence[str], as_json: bool) -> None:
    """List the filters: what each looks at and its published bounds; `show` explains one.

    \b
    cuvee filters
    cuvee filters -k ocr
    cuvee filters show gopher_quality
    cuvee filters show blur --source scenes
    """
    if ctx.invoked_subcommand is None:
        list_filters(words, as_json)


@filters.command("ls")
@WORDS
@JSON
def filters_ls(words: Sequence[str], as_json: bool) -> None:
    """List all filters with what they look at and their published bounds; JSON says all that is known of them.

    \b
    cuvee filters ls --json
    cuvee filters ls -k caption -k laion
    """
    list_filters(words, as_json)


def list_filters(words: Sequence[str], as_json: bool) -> None:
    """Print the filters in which `words` stand: many in one line each, few in full."""
    from curate import explain

    found = [(f, explain.describe(f)) for f in explain.listing(words)]
    if as_json:
        emit([d for _, d in found])
        return
    if not found:
        msg = f"no filter has {' and '.join(f'`{w}`' for w in words)} in it"
        raise UserError(msg, hint="`cuvee filters` lists all of them")
    rows = [
        {"filter": f.name, "looks at": ", ".join([*d["looks_at"], *d["does"]]), "what": d["summary"],
         "bounds": explain.bounds_of(f)}
        for f, d in found
    ]  # fmt: skip
    if words and len(rows) <= FEW:
        table(rows, wrap=("looks at", "what", "bounds"))
    else:
        table([{**r, "looks at": short(r["looks at"], 16)} for r in rows], cut=("what", "bounds"))
    say(
        "`cuvee filters show NAME` explains one, `--source REF` with the distribution of its scores, `-k WORD` searches them"
    )


FEW = 12  # filters that are listed in full


@filters.command("show")
@click.argument("name")
@click.option("--source", "refs", multiple=True, help="A stored source, `name` or `name@digest`; may be given again.")
@click.option("--params", multiple=True, help="Parameters as `name=value`; may be given again.")
@click.option("--sample", type=click.IntRange(0), default=2000, show_default=True,
              help="Samples to score where no scores are stored, spread evenly; 0: all.")  # fmt: skip
@STORE
@JSON
def filters_show(
    name: str, refs: Sequence[str], params: Sequence[str], sample: int, store: Path, as_json: bool
) -> None:
    """Explain the filter NAME: scores, units, bounds, parameters; with a source, how its scores are distributed there.

    Stored scores are used where all of them are there. Otherwise a sample is scored here, and nothing is written.

    \b
    cuvee filters show gopher_quality
    cuvee filters show gopher_quality --source texts --params min_words=10
    cuvee filters show clip_score --source scenes --params model=ViT-B-32/openai --sample 500
    """
    from catalog.store import Store
    from curate import explain, show

    flt = explain.bind(name, explain.settings(params))
    out = explain.describe(flt)
    if refs:
        where = Store(store)
        sources = [where.source(r) for r in refs]
        with bars() as progress:
            out["data"] = explain.explain(where, sources, flt, rows=sample, progress=progress)
    emit(out) if as_json else show.filter_(out)


@cuvee.group(cls=Group)
def recipe() -> None:
    """List and print the shipped recipes, or draft one from stored sources."""


@recipe.command("ls")
@JSON
def recipe_ls(as_json: bool) -> None:
    """List the recipes that come with cuvee: `plan`, `run` and `ingest` take their names.

    \b
    cuvee recipe ls
    """
    from curate import shipped

    rows = [{"recipe": n, "what": shipped.first_line(shipped.FOLDER / f"{n}.yaml")} for n in shipped.names()]
    emit(rows) if as_json else table(rows, wrap=("what",))


@recipe.command("show")
@click.argument("name")
def recipe_show(name: str) -> None:
    """Print the shipped recipe NAME.

    \b
    cuvee recipe show demo > recipe.yaml
    """
    from curate import shipped

    click.echo(shipped.text(name), nl=False)


@recipe.command("init")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--filters", "names", default="", help="Filters, with commas between.  [default: all that apply]")
@click.option("--params", multiple=True, help="Parameters as `filter.name=value`; may be given again.")
@click.option("--drop", type=float, default=0.05, show_default=True, help="The share that each bound may drop.")
@click.option("--sample", type=click.IntRange(0), default=2000, show_default=True,
              help="Samples to look at where no scores are stored, spread evenly; 0: all.")  # fmt: skip
@click.option("--name", default=None, help="Of the recipe.  [default: the name of the file, or `draft`]")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="File to write.  [default: print it]")
@STORE
def recipe_init(
    sources: Sequence[str], names: str, params: Sequence[str], drop: float, sample: int, name: str | None,
    out: Path | None, store: Path,
) -> None:  # fmt: skip
    """Draft a recipe over stored sources: each bound a quantile of their own scores, with the published one and a histogram.

    \b
    cuvee recipe init scenes questions --out recipe.yaml
    cuvee recipe init alttext --filters caption_rules,language --drop 0.02
    cuvee recipe init scenes --params clip_score.model=ViT-B-32/openai
    """
    from catalog.files import write_bytes
    from catalog.store import Store
    from curate import draft as drafts
    from curate import explain

    if out is not None and out.exists():
        msg = f"`{out}` is there already"
        raise UserError(msg, hint="name another file with `--out`, or remove it", usage=True)
    where = Store(store)
    wanted = [n.strip() for n in names.split(",") if n.strip()]
    bound: dict[str, dict[str, Any]] = {}
    for key, value in explain.settings(params).items():
        flt, dot, parameter = key.partition(".")
        if not dot:
            msg = f"cannot read `{key}`: expected `<filter>.<parameter>=<value>`"
            raise UserError(msg, usage=True)
        bound.setdefault(flt, {})[parameter] = value
    with bars() as progress:
        made = drafts.draft(where, [where.source(r) for r in sources], name=name or drafts.named(out),
                            filters=wanted, params=bound, drop=drop, rows=sample, progress=progress)  # fmt: skip
    if out is None:
        click.echo(made.text, nl=False)
    else:
        write_bytes(out, made.text.encode())
    for reason in dict.fromkeys(made.left_out.values()):
        say(f"left out: {', '.join(n for n, r in made.left_out.items() if r == reason)}: {reason}")
    say(
        f"{made.stages} stages; together their bounds drop {made.dropped:,} of the {made.looked_at:,} samples looked at"
    )
    for line in made.warnings:
        say(line)
    if out is not None:
        folder = made.data and Path(made.data) != out.parent.absolute()
        say(f"next: cuvee run {out}{f' --data {made.data}' if folder else ''} --store {store}")


@cuvee.command("fit-quality")
@click.option(
    "--good", multiple=True, required=True, help="A stored source or a file of good examples; may be given again."
)
@click.option("--bad", multiple=True, required=True, help="The same of ordinary ones.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the model; must not be there yet."
)
@click.option(
    "--set", "settings", multiple=True, help="A setting of the fit as `key=value`: order, bits, epochs, rate, seed, .."
)
@STORE
@JSON
def fit_quality_command(
    good: Sequence[str], bad: Sequence[str], out: Path, settings: Sequence[str], store: Path, as_json: bool
) -> None:
    """Fit a quality classifier: which texts read like the good ones? The filter `quality` takes the folder as `model`.

    Look at the held-out figures and the most telling words, which are printed: it learns whatever tells the sides apart.

    \b
    cuvee fit-quality --good trusted --bad pages --out models/good
    cuvee fit-quality --good rated.jsonl --bad raw.jsonl --out models/good --set epochs=3
    """
    from catalog.store import Store
    from curate import explain, fit_quality, show

    config = fit_quality.config(explain.settings(settings))
    with bars() as progress:
        found = fit_quality.fit_refs(
            Store(store), good, bad, out, config=config, progress=lambda d, t: progress("fit quality", d, t)
        )
    if as_json:
        emit({"model": str(out), **found})
        return
    show.quality(found)
    click.echo(f"\nmodel    {out}")


# -- mixtures ----------------------------------------------------------------------------------------------------------


@cuvee.group(cls=Group)
def mix() -> None:
    """Lock, show, compare and verify mixtures."""


@mix.command("lock")
@click.argument("spec", type=click.Path(path_type=Path))
@STORE
@JSON
def mix_lock(spec: Path, store: Path, as_json: bool) -> None:
    """Resolve the mixture SPEC over the store and write its lock: exact samples, exact order, one id.

    \b
    cuvee mix lock mixture.yaml
    """
    from catalog.store import Store
    from mixtures import lock as locks
    from mixtures import show as shows
    from mixtures import spec as specs

    path = locks.lock(specs.read(spec), Store(store))
    if as_json:
        emit({"lock": str(path), **shows.show(path)})
    else:
        _show_mixture(path)


@mix.command("show")
@click.argument("mixture")
@STORE
@JSON
def mix_show(mixture: str, store: Path, as_json: bool) -> None:
    """Show what MIXTURE (a name, `name@version` or a path) is made of.

    \b
    cuvee mix show vlm-general@1.0.0
    """
    from catalog.store import Store
    from mixtures import show as shows

    path = shows.find(mixture, Store(store))
    if as_json:
        emit({"lock": str(path), **shows.show(path)})
    else:
        _show_mixture(path)


def _show_mixture(path: Path) -> None:
    from mixtures import show as shows

    out = shows.show(path)
    click.echo(f"{out['name']} {out['version']}  {out['id']}")
    made = ", ".join(f"{out['budget'][k]:,} {k}" for k in ("samples", "tokens", "images"))
    asked = ", ".join(f"{v} {k}" for k, v in out["budget"]["asked"].items())
    click.echo(f"asked for {asked}, comes to {made}; weights count {out['unit']}\n")
    keys = ("name", "dataset", "available", "samples", "tokens", "images", "share_ppm", "epochs_milli", "capped_by")
    rows = [{k: c.get(k) for k in keys} for c in out["components"]]
    for row in rows:
        row["share"] = f"{(row.pop('share_ppm') or 0) / 10_000:.2f} %"
        row["epochs"] = f"{(row.pop('epochs_milli') or 0) / 1000:.3f}"
    table(rows)
    for warning in out["warnings"]:
        say(f"warning: {warning}")
    click.echo(f"\nlock     {path}")


@mix.command("diff")
@click.argument("a")
@click.argument("b")
@STORE
@JSON
def mix_diff(a: str, b: str, store: Path, as_json: bool) -> None:
    """Compare two mixtures: spec, plan, samples. Exit code 0 when they are equal, 1 when they differ.

    \b
    cuvee mix diff vlm@1.0.0 vlm@1.1.0
    """
    from catalog.store import Store
    from mixtures import diff as diffs
    from mixtures import show as shows

    where = Store(store)
    out = diffs.diff(shows.find(a, where), shows.find(b, where))
    if as_json:
        emit(out)
    else:
        click.echo(diffs.to_text(out))
    if not out["equal"]:
        raise click.exceptions.Exit(1)


@mix.command("verify")
@click.argument("mixture")
@click.option("--full", is_flag=True, help="Hash every sample and every medium again.")
@click.option("--order", is_flag=True, help="Replay the order and compare its digest.")
@STORE
@JSON
def mix_verify(mixture: str, full: bool, order: bool, store: Path, as_json: bool) -> None:
    """Check that MIXTURE is still all there: sizes and counts, and on demand every hash and the order.

    \b
    cuvee mix verify vlm@1.0.0 --full
    """
    from catalog.store import Store
    from mixtures import show as shows
    from mixtures import verify as verifies

    where = Store(store)
    path = shows.find(mixture, where)
    found = [vars(f) for f in verifies.verify(path, store=where.root, full=full, order=order)]
    if as_json:
        emit({"lock": str(path), "ok": not found, "findings": found})
    elif found:
        table(found)
    else:
        click.echo(f"{path}: as locked")
    if found:
        msg = f"{len(found)} finding{'s' if len(found) > 1 else ''}: the mixture is not what its lock says"
        raise UserError(msg)


# -- training ----------------------------------------------------------------------------------------------------------


def spec_of(path: Path, what: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML mapping and refuse keys other than `keys`, if any are given."""
    from catalog.errors import unknown_keys
    from catalog.files import read_yaml

    raw = read_yaml(path, what)
    if not isinstance(raw, dict):
        msg = f"{what} `{path}` must be a mapping of names to values"
        raise UserError(msg, usage=True)
    if keys:
        unknown_keys(raw, keys, f"{what} `{path}`")
    return raw


@cuvee.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Where runs go.  [default: STORE/runs]")
@STORE
@JSON
def train(config: Path, out: Path | None, store: Path, as_json: bool) -> None:
    """Train one NVLM model as CONFIG says: stage 0 (text alone) once, then two stages on a mixture.

    CONFIG is YAML: `mixture` and `clip` (paths, from the file's folder), `backbone` (settings of stage 0, with `locks`),
    `train` (arch D, X or H, seed, samples, ..). Run it again after an interruption: it goes on from its last checkpoint.

    \b
    cuvee train train.yaml --out runs
    """
    from trainer.backbone import BackboneConfig, train_backbone
    from trainer.train import TrainConfig
    from trainer.train import train as train_run

    raw = spec_of(config, "train config", ("mixture", "clip", "backbone", "train"))
    for key in ("mixture", "clip"):
        if key not in raw:
            msg = f"`{config}` has no `{key}`"
            raise UserError(msg, usage=True)
    for key, kind, what in (("mixture", str, "a path"), ("clip", str, "a path"), ("backbone", dict, "a mapping of settings"),
                            ("train", dict, "a mapping of settings")):  # fmt: skip
        if not isinstance(raw.get(key) or kind(), kind):
            msg = f"`{key}` of `{config}` must be {what}, got `{raw[key]}`"
            raise UserError(msg, usage=True)
    here, target = config.parent, out or store / "runs"
    stage_0 = dict(raw.get("backbone") or {})
    given = stage_0.pop("locks", [raw["mixture"]])
    if not isinstance(given, list) or not all(isinstance(p, str) for p in given):
        msg = f"`locks` of the backbone must be a list of paths, got `{given}`"
        raise UserError(msg, usage=True)
    locks = [here / p for p in given]
    settings = TrainConfig.from_dict(raw.get("train") or {})  # before stage 0, which takes minutes
    with bars() as progress:
        step = lambda done, total, text: progress(_stage(text), done, total)  # noqa: E731 - one adapter, used twice
        clip = here / raw["clip"]
        backbone = train_backbone(
            BackboneConfig.from_dict(stage_0), locks=locks, clip=clip, out=target / "backbones", progress=step
        )
        run = train_run(settings, lock=here / raw["mixture"], backbone=backbone, clip=clip, out=target, progress=step)
    if as_json:
        emit({"run": str(run), "backbone": str(backbone), **json.loads((run / "config.json").read_bytes())})
    else:
        click.echo(str(run))


@cuvee.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--on", "locks", multiple=True, required=True, help="TASK=LOCK: a held-out mixture lock and its task.")
@click.option(
    "--backbone", type=click.Path(path_type=Path), required=True, help="The backbone that the run started from."
)
@click.option(
    "--clip", type=click.Path(path_type=Path), required=True, help="The CLIP whose image tower it looks through."
)
@JSON
def evaluate(run: Path, locks: Sequence[str], backbone: Path, clip: Path, as_json: bool) -> None:
    """Evaluate the trained RUN on held-out mixtures: answer loss, and the usual score of each task.

    \b
    cuvee evaluate runs/5f0c --on vqa=heldout/vqa.lock.json --backbone runs/backbones/91ab --clip models/dfn
    """
    from trainer.evaluate import evaluate_run, summary

    named = dict(lock.partition("=")[::2] for lock in locks)
    for task, path in named.items():
        if not task or not path:
            msg = f"`--on {task}` names no lock: expected TASK=LOCK, as `vqa=heldout/vqa.lock.json`"
            raise UserError(msg, usage=True)
    with bars() as progress:
        found = evaluate_run(
            run, {task: Path(path) for task, path in named.items()}, backbone=backbone, clip=clip,
            features=run.parent.parent / "features", progress=lambda done, total, text: progress(_stage(text), done, total),
        )  # fmt: skip
    rows = summary(found)
    emit(rows) if as_json else table(rows)


@cuvee.command()
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Where results go.  [default: STORE/runs]")
@STORE
@engine_options
@JSON
def validate(
    experiment: Path,
    out: Path | None,
    store: Path,
    engine: str,
    workers: int | None,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Compare mixtures by training D, X and H on each of them from several seeds: EXPERIMENT says which and for how long.

    Ends in a table of paired differences with intervals and an HTML report. Finished runs are kept: run it again to go on.

    \b
    cuvee validate experiment.yaml --workers 2
    """
    from trainer.validate import Experiment
    from trainer.validate import validate as compare

    spec = Experiment.from_dict(spec_of(experiment, "experiment"), base=experiment.parent)
    with opened(engine, workers, ray_address) as eng, bars() as progress:
        found, folder = compare(
            spec,
            out=out or store / "runs",
            map=eng.map,
            progress=lambda done, total, text: progress(_stage(text), done, total),
        )
    if as_json:
        emit(found)
        return
    show_comparison(found)
    click.echo(f"\nreport   {folder / 'report.html'}")


def _stage(text: str) -> str:
    """Return a label that stays while the loss in the text changes: one bar per stage, and one for the whole grid."""
    return "train D, X, H" if text.startswith("trained ") else text.partition(",")[0]


def show_comparison(found: Mapping[str, Any]) -> None:
    """Print the differences over all tasks, per architecture."""
    sizes = ", ".join(f"{name} {arm['samples']:,} samples" for name, arm in found["arms"].items())
    seeds = len(found["settings"]["seeds"])
    click.echo(f"{sizes}; {found['samples_seen']:,} samples seen by each run, {seeds} seeds, {found['selection']}")
    rows = [
        {"model": f"NVLM-{r['arch']}", "measure": "answer loss" if r["measure"] == "loss" else "task score",
         r["left"]: r["left_mean"], r["right"]: r["right_mean"], "difference": f"{r['mean']:+.4f}",
         "95 % interval": f"[{r['low']:+.4f}, {r['high']:+.4f}]", "p (Holm)": r["p_holm"], "verdict": verdict(r)}
        for r in found["comparisons"] if r["task"] == "all"
    ]  # fmt: skip
    table(rows)


def verdict(row: Mapping[str, Any]) -> str:
    """Say which arm is better, or that it was not shown."""
    if not row["clear"]:
        return "not shown"
    return f"{row['left'] if (row['mean'] < 0) == (row['measure'] == 'loss') else row['right']} better"


# -- the whole road ----------------------------------------------------------------------------------------------------

DEMO_SIZE = 3000
DEMO_EXPERIMENT: dict[str, Any] = {
    "seeds": [1, 2, 3],
    "samples": 2048,
    "stage_1": 0.25,
    "train": {"batch": 8, "max_length": 192, "lr_2": 0.002},
    "evaluation": {"generate": 40},
    "backbone": {
        "samples": 2000,
        "threads": 1,
        "model": {"d": 96, "layers": 4, "heads": 4, "kv_heads": 2, "ffn": 256, "projector_ffn": 192},
    },
}
# The same in both arms, so that they differ in their samples and not in how much of each task they hold.
DEMO_WEIGHTS = {
    "scenes": "0.24", "questions": "0.18", "charts": "0.18", "documents": "0.15", "math": "0.08", "math_images": "0.05",
    "text": "0.07", "instructions": "0.05",
}  # fmt: skip
DEMO_TASKS = {
    "caption": ["scenes"], "vqa": ["questions"], "chart": ["charts"], "ocr": ["documents"], "math": ["math", "math_images"],
    "text": ["text"],
}  # fmt: skip


@cuvee.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-out"), show_default=True,
              help="Where all of it goes; what is there already is not done again.")  # fmt: skip
@click.option(
    "--size", type=click.IntRange(200), default=DEMO_SIZE, show_default=True, help="Training samples to plant."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the planted corpus.")
@engine_options
def demo(out: Path, size: int, seed: int, engine: str, workers: int | None, ray_address: str | None) -> None:
    """Show all of it on a planted corpus: raw data in, a validated mixture out, in some minutes on two cores.

    Plants a corpus with labelled defects, curates it, says what was caught, locks the curated and the raw mixture, trains
    NVLM-D, -X and -H on both from three seeds, and compares them. OUT/demo.json holds every printed figure.

    \b
    cuvee demo
    cuvee demo --out trial --size 1000
    """
    import dataclasses
    import time
    from importlib import resources

    import pyarrow.parquet as pq

    from catalog.files import write_json
    from catalog.store import Store
    from curate import prepare
    from curate import recipe as recipes
    from curate.run import run as run_recipe
    from curate.synth import truth
    from curate.synth.make import make
    from mixtures import lock as locks
    from mixtures import spec as specs
    from trainer.validate import Experiment
    from trainer.validate import validate as compare

    started = time.monotonic()
    data, store = out / "planted", Store(out / "store")
    with opened(engine, workers, ray_address) as eng, bars() as progress:
        if not (data / "truth" / "summary.json").exists():
            step = lambda done, total: progress("plant a corpus", done, total)  # noqa: E731
            make(data, size=size, seed=seed, workers=workers or os.cpu_count() or 1, progress=step)
        planted = json.loads((data / "truth" / "summary.json").read_bytes())
        if (planted["size"], planted["seed"]) != (size, seed):
            msg = f"`{out}` holds a corpus of size {planted['size']} and seed {planted['seed']}"
            raise UserError(msg, hint="name another folder with `--out`", usage=True)
        with resources.as_file(resources.files("curate.recipes") / "demo.yaml") as path:
            spec = recipes.read(path)
        curation = curated(spec, store, eng, data, progress)
        raw = dataclasses.replace(spec, name="demo-raw", stages=(), models=())
        heldout = dataclasses.replace(raw, name="demo-heldout", role="eval")
        for other in (raw, heldout):
            run_recipe(other, store, engine=eng, data=data, progress=lambda *_: None)
        sources = {s.name: store.source(s.name) for s in spec.sources}
        clip = prepare.model_dir(store, spec.models[0], sources)

        def locked(name: str, dataset: str, budget: Mapping[str, int], parts: Sequence[Mapping[str, Any]]) -> Path:
            wish = {"name": name, "budget": budget, "sources": [{"ref": dataset, **p} for p in parts]}
            return locks.lock(specs.parse(wish), store)

        shares = [{"source": s, "name": s, "weight": w} for s, w in DEMO_WEIGHTS.items()]
        seen = {"samples": DEMO_EXPERIMENT["samples"]}
        arms = {
            "curated": locked("demo-curated", curation["dataset"], seen, shares),
            "raw": locked("demo-raw", "demo-raw", seen, shares),
        }
        held = {
            task: locked(
                f"demo-heldout-{task}",
                "demo-heldout",
                {"epochs": 1},
                [{"source": [f"heldout_{n}" for n in names], "name": task}],
            )
            for task, names in DEMO_TASKS.items()
        }
        # Stage 0 reads the raw arm's text: if its noise favours an arm, then the raw one.
        experiment = Experiment.from_dict({**DEMO_EXPERIMENT, "arms": arms, "eval": held, "clip": clip,
                                           "backbone_locks": [arms["raw"]]})  # fmt: skip
        found, folder = compare(
            experiment, out=store.root / "runs", map=eng.map, progress=lambda d, t, text: progress(_stage(text), d, t)
        )
    defects = truth.of_dataset(
        store, store.dataset(curation["dataset"]), pq.read_table(data / "truth" / "truth.parquet")
    )
    ids = {name: json.loads(path.read_bytes())["id"] for name, path in arms.items()}
    result = {
        "size": size, "seed": seed, "planted": planted, "defects": defects, "curation": curation, "mixtures": ids,
        "locks": {name: str(path) for name, path in arms.items()}, "validation": found,
        "report": curation["report"], "validation_report": str(folder / "report.html"),
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    write_json(out / "demo.json", finite(json.loads(json.dumps(result, default=str))))
    show_demo(result, out)


def show_demo(result: Mapping[str, Any], out: Path) -> None:
    """Print what the demo found."""
    click.echo("Planted defects, and what became of them\n")
    keys = ("defect", "planted", "caught", "recall", "by_own_stage", "dropped", "wrongly_dropped", "precision")
    rows = [{k: d[k] for k in keys} for d in result["defects"]]
    for row in rows:
        for key in ("recall", "precision"):
            row[key] = None if row[key] is None else f"{row[key]:.3f}"
    table(rows)
    click.echo()
    counts = result["curation"]["counts"]
    parts = " + ".join(f"{counts[k]:,} {k}" for k in ("kept", "dropped", "rejected"))
    click.echo(f"{counts['rows']:,} in = {parts}\n")
    for name, id_ in result["mixtures"].items():
        click.echo(f"mixture {name:<8} {id_}")
    click.echo("\nIs the curated mixture better? Difference = curated - raw; lower loss and higher score are better\n")
    show_comparison(result["validation"])
    dataset = result["curation"]["dataset"]
    click.echo(f"\ncuration report    {result['report']}\nvalidation report  {result['validation_report']}")
    click.echo(f"all figures        {out / 'demo.json'}\n{result['seconds']:,.0f} seconds")
    store = out / "store"
    click.echo(f"""
What to try next
  cuvee why scenes/records.jsonl:2 --dataset {dataset} --store {store}
  cuvee what-if {dataset} --set blur.min=100 --store {store}
  cuvee mix show demo-curated --store {store}
  cuvee serve --store {store}""")


# -- catalog -----------------------------------------------------------------------------------------------------------


@cuvee.group(cls=Group)
def catalog() -> None:
    """Browse what is in the store."""


@catalog.command("ls")
@click.argument("kind", required=False)
@STORE
@JSON
def catalog_ls(kind: str | None, store: Path, as_json: bool) -> None:
    """List sources, datasets, mixtures and runs, or one KIND of them.

    \b
    cuvee catalog ls
    cuvee catalog ls datasets --json
    """
    from catalog import index
    from catalog.store import Store

    found = index.open_index(Store(store))
    for note in found.notes:
        say(f"note: {note}")
    rows = found.ls(kind)
    emit(rows) if as_json else table(rows)


@catalog.command("show")
@click.argument("ref")
@STORE
@JSON
def catalog_show(ref: str, store: Path, as_json: bool) -> None:
    """Show one source, dataset, mixture or run.

    \b
    cuvee catalog show demo
    cuvee catalog show scenes@1f2e --json
    """
    from catalog import index
    from catalog.store import Store

    out = index.open_index(Store(store)).show(ref)
    if as_json:
        emit(out)
        return
    fields = {**{k: v for k, v in out.items() if k != "record"}, **out["record"]}
    rows = [
        {"field": k, "value": json.dumps(v, default=str) if isinstance(v, dict | list) else v}
        for k, v in fields.items()
    ]
    table([{**r, "value": v[:157] + "..." if isinstance(v := r["value"], str) and len(v) > 160 else v} for r in rows])
    say("`--json` prints all of it")


@catalog.command("rebuild")
@STORE
def catalog_rebuild(store: Path) -> None:
    """Make the index again from the files."""
    from catalog import index
    from catalog.store import Store

    found = index.rebuild(Store(store))
    for note in found.notes:
        say(f"note: {note}")
    click.echo(f"{len(found.ls()):,} records indexed")


@cuvee.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True)
@STORE
def serve(host: str, port: int, store: Path) -> None:
    """Serve the catalog and the reports as web pages on this machine.

    \b
    cuvee serve --port 8080
    """
    from catalog.store import Store
    from catalog.web import server

    httpd = server(Store(store), host=host, port=port)
    say(f"serving {store} at http://{httpd.server_address[0]!s}:{httpd.server_address[1]}/  (Ctrl-C stops)")
    with httpd:
        httpd.serve_forever()


@cuvee.command()
@JSON
def doctor(as_json: bool) -> None:
    """Say where each package is imported from, which version it is, which extras are installed, and whether a GPU is here.

    Fails when one of our top-level names is somebody else's, or a package that is always needed is missing.

    \b
    cuvee doctor
    cuvee doctor --json | jq '.extras[] | select(.installed | not) | .install'
    """
    from catalog import extras

    out = extras.report()
    if as_json:
        emit(out)
    else:
        table(out["packages"], ["name", "version", "from", "ok"])
        click.echo(f"\npython {out['python']}, {out['gpus']} GPUs\n")
        table([{**e, "packages": ", ".join(f"{p} {v or '(missing)'}" for p, v in e["packages"].items()),
                "install": "" if e["installed"] else e["install"]} for e in out["extras"]],
              ["extra", "installed", "packages", "install"], wrap=("packages",))  # fmt: skip
    wrong = [p["name"] for p in out["packages"] if not p["ok"]]
    if wrong:
        ours = [n for n in wrong if n in extras.TOP]
        msg = f"missing: {', '.join(wrong)}" if not ours else f"another package has the name of ours: {', '.join(ours)}"
        raise UserError(msg, hint="install cuvee into an environment of its own")


def main() -> None:
    """Run the command line; every expected failure ends in one clear line and an exit code."""
    try:
        code = cuvee.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except UserError as e:
        from catalog import extras

        say(f"error: {extras.local(str(e))}")
        sys.exit(2 if e.usage else 1)
    except click.ClickException as e:
        say(f"error: {e.format_message()}")
        if isinstance(e, click.UsageError) and e.ctx is not None:
            say(f"hint: `{e.ctx.command_path} --help` shows how it is used")
        sys.exit(e.exit_code)
    except (KeyboardInterrupt, click.Abort):
        say("interrupted: what was finished is kept, the same command goes on from there")
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as e:
        import errno

        from catalog.files import explain

        full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        said = explain(e, Path(str(e.filename))) if full else f"`{e.filename}`: {e.strerror}"
        say(f"error: {said if e.filename else e}")
        sys.exit(1)


if __name__ == "__main__":
    main()
