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

from catalog.errors import UserError

STORE = click.option(
    "--store", type=click.Path(path_type=Path), default=Path("store"), envvar="CUVEE_STORE", show_default=True,
    help="The folder that holds sources, scores, datasets, mixtures and runs.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
DATA = click.option(
    "--data", type=click.Path(path_type=Path), default=None,
    help="Where the recipe's paths start.  [default: the recipe's folder]",
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


@contextlib.contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show one progress bar per label on standard error, with rate and time left; plain lines where it is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (
        TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}

        def step(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=max(total, 1), rate="")
            speed = next(t.speed for t in progress.tasks if t.id == tasks[label])
            shown = done if total else 1
            progress.update(tasks[label], completed=shown, total=max(total, 1), rate=f"{speed:,.1f}/s" if speed else "")

        yield step


def _lines() -> Callable[[str, int, int], None]:
    last: dict[str, int] = {}

    def step(label: str, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if last.get(label) != tenth or done == total:
            if last.get(label) is None or tenth == 10:
                click.echo(f"{label}: {done:,}/{total:,}", err=True)
            last[label] = tenth

    return step


def say(text: str) -> None:
    """Print a line for people, to standard error."""
    click.echo(text, err=True)


def emit(value: Any) -> None:
    """Print JSON to standard output."""
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    """JSON has no NaN, and null means "does not apply": a score that could not be computed is the string "NaN"."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value).replace("nan", "NaN")
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Print rows as an aligned table to standard output."""
    if not rows:
        say("nothing there")
        return
    columns = list(columns or rows[0])
    cells = [[_cell(r.get(c)) for c in columns] for r in rows]
    widths = [max(len(c), *(len(row[i]) for row in cells)) for i, c in enumerate(columns)]
    right = [all(isinstance(r.get(c), int | float | None) for r in rows) for c in columns]
    for row in [list(columns), *cells]:
        parts = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(row, widths, right, strict=True)]
        click.echo("  ".join(parts).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    # Text from data may carry control characters that steer a terminal.
    return "".join(ch if ch.isprintable() else "\N{REPLACEMENT CHARACTER}" for ch in str(value))


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
    from curate import recipe as recipes
    from curate.run import ingest_all

    spec = recipes.read(recipe)
    with opened(engine, workers, ray_address) as eng, bars() as progress:
        found = ingest_all(spec, Store(store), engine=eng, data=data or recipe.parent, progress=progress)
    rows = [
        {"source": s.ref, "role": s.role, "rows": s.rows, "samples": s.samples, "rejects": s.rejects,
         "rejected": dict(s.rejected) if as_json else ", ".join(f"{k} {v}" for k, v in sorted(s.rejected.items()))}
        for s in found.values()
    ]  # fmt: skip
    emit(rows) if as_json else table(rows)


# -- curation ----------------------------------------------------------------------------------------------------------


@cuvee.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@DATA
@STORE
@JSON
def plan(recipe: Path, data: Path | None, store: Path, as_json: bool) -> None:
    """Show what `run` would do with RECIPE: sources, stages, what is stored already, how many samples.

    \b
    cuvee plan recipe.yaml --data /data
    """
    from catalog.store import Store
    from curate import recipe as recipes
    from curate.plan import plan as make_plan

    out = make_plan(recipes.read(recipe), Store(store), data=data or recipe.parent)
    if as_json:
        emit(out)
        return
    table(out["sources"])
    click.echo()
    rows = [{**s, "bounds": _bounds(s["bounds"])} for s in out["stages"]]
    table(rows, ["stage", "images", "model", "samples", "shards", "cached", "bounds"])
    left = out["passes"]
    click.echo()
    if left["shards"] is None:
        click.echo("not known before ingest, fitting and indexing: how many shards are to be scored")
    else:
        click.echo(
            f"to score: {left['samples']:,} samples in {left['shards']:,} shards, {left['decoding']:,} with images"
        )


def _bounds(rules: Sequence[Mapping[str, Any]]) -> str:
    shown = []
    for r in rules:
        bound = " ".join(f"{k} {r[k]}" for k in ("min", "max", "top") if k in r)
        shown.append(f"one per cluster{' by ' + ', '.join(r['prefer']) if r['prefer'] else ''}" if r.get("cluster") else
                     f"{r['score']} {bound}")  # fmt: skip
    return "; ".join(shown)


@cuvee.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@DATA
@STORE
@engine_options
@JSON
def run(
    recipe: Path,
    data: Path | None,
    store: Path,
    engine: str,
    workers: int | None,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Run RECIPE: ingest, fit, score, deduplicate, decontaminate, judge; ends in a dataset version and its report.

    A mixture that the recipe describes is locked as well. Run it again after an interruption: it goes on where it was.

    \b
    cuvee run recipe.yaml --data /data --workers 8
    cuvee run recipe.yaml --data /data --engine ray
    """
    from catalog.store import Store
    from curate import recipe as recipes

    spec = recipes.read(recipe)
    with opened(engine, workers, ray_address) as eng, bars() as progress:
        out = curated(spec, Store(store), eng, data or recipe.parent, progress)
    if as_json:
        emit(out)
        return
    show_funnel(out)
    for key in ("dataset", "mixture", "report"):
        if out.get(key):
            click.echo(f"{key:<8} {out[key]}")
    say(f"next: cuvee what-if {out['dataset']} --set ...   cuvee why ID   cuvee mix lock mixture.yaml")


def curated(
    spec: Any, store: Any, engine: Any, data: Path, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Run a recipe, write its report and lock its mixture; return their names and the funnel."""
    from catalog.ledger import Ledger, funnel
    from curate import report
    from curate.run import run as run_recipe
    from mixtures import lock as locks
    from mixtures import spec as specs

    result = run_recipe(spec, store, engine=engine, data=data, progress=progress)
    dataset = result.dataset
    folder = store.dataset_dir(dataset.name, dataset.version)
    page = folder / "report.html"
    if not page.exists():
        progress("report", 0, 1)
        report.write(store, dataset, page)
        progress("report", 1, 1)
    mixture = None
    if spec.mixture is not None:
        import yaml

        # Through YAML text, because a mixture spec reads its numbers as the decimals that are written.
        text = yaml.safe_dump(dict(spec.mixture), sort_keys=False)
        mixture = locks.lock(specs.parse(text, where=f"mixture of recipe `{spec.name}`"), store)
    ledger = Ledger(store, dataset)
    return {
        "dataset": dataset.ref,
        "digest": dataset.digest,
        "ledger": dataset.ledger,
        "content": dataset.content,
        "mixture": str(mixture) if mixture else None,
        "mixture_id": json.loads(mixture.read_bytes())["id"] if mixture else None,
        "counts": dict(dataset.counts),
        "funnel": funnel(ledger.rules, ledger.keep_matrix()),
        "work": dict(result.work),
        "report": str(page),
    }


def show_funnel(out: Mapping[str, Any]) -> None:
    """Print the funnel of a run."""
    counts = out["counts"]
    click.echo(
        f"{counts['rows']:,} in = {counts['kept']:,} kept + {counts['dropped']:,} dropped + {counts['rejected']:,} rejected"
    )
    table([f for f in out["funnel"] if f["alone"]] or out["funnel"])


@cuvee.command()
@click.argument("id_", metavar="ID")
@click.option("--dataset", default=None, help="Dataset version, `name` or `name@version`.  [default: the latest run]")
@STORE
@JSON
def why(id_: str, dataset: str | None, store: Path, as_json: bool) -> None:
    """Say why the sample ID was kept, dropped or rejected: every score, bound and match.

    \b
    cuvee why scenes/records.jsonl:17
    """
    from catalog import ledger
    from catalog.store import Store

    where = Store(store)
    out = ledger.why(where, latest(where, dataset), id_)
    if as_json:
        emit(out)
        return
    click.echo(f"{_cell(out['id'])}: {out['outcome']} in {out['dataset']}")
    if "reject" in out:
        table([out["reject"]], ["code", "message"])
        return
    table(out["verdicts"], ["stage", "score", "value", "low", "high", "keep", "match"])
    for cluster in out["clusters"]:
        click.echo(f"\ncluster of {cluster['stage']}")
        table(cluster["members"])


@cuvee.command("what-if")
@click.argument("dataset", required=False)
@click.option(
    "--set", "settings", multiple=True, required=True, help="<stage>[.<score>].<min|max|top>=<number>, or =none."
)
@STORE
@JSON
def what_if(dataset: str | None, settings: Sequence[str], store: Path, as_json: bool) -> None:
    """Count what other bounds would keep, from stored scores: nothing is scored again.

    \b
    cuvee what-if --set clip_score.min=0.3
    cuvee what-if demo --set clip_score.top=0.5 --set blur.min=none
    """
    from catalog import ledger
    from catalog.store import Store

    where = Store(store)
    out = ledger.what_if(where, latest(where, dataset), settings)
    if as_json:
        emit(out)
        return
    kept = out["kept"]
    click.echo(
        f"kept {kept['before']:,} -> {kept['after']:,} of {out['samples']:,} ({out['gained']:,} gained, {out['lost']:,} lost)"
    )
    changed = [s for s in out["stages"] if s["changed"] or s["dropped_before"] != s["dropped_after"]]
    table([{**s, "bound": " ".join(f"{k} {v}" for k, v in s["bound"].items())} for s in changed])
    click.echo()
    table(out["sources"])


def latest(store: Any, ref: str | None) -> Any:
    """Return the dataset version that `ref` names, or the one made last."""
    if ref is not None:
        return store.dataset(ref)
    found = sorted(store.datasets(), key=lambda d: str(d.volatile.get("created_at", "")))
    if not found:
        msg = f"no dataset version in store `{store.root}`"
        raise UserError(msg, hint="`cuvee run RECIPE` makes one; `--store` names another store")
    return found[-1]


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


@cuvee.command("filters")
@click.argument("name", required=False)
@JSON
def filters_command(name: str | None, as_json: bool) -> None:
    """List the filters with their scores and published bounds, or explain one.

    \b
    cuvee filters
    cuvee filters gopher_quality
    """
    from filters import base

    found = [base.load(name)] if name else list(base.every())
    rows = [
        {"filter": f.name, "score": s, "type": str(t), "min": f.bounds.get(s, (None, None))[0],
         "max": f.bounds.get(s, (None, None))[1], "images": f.needs_images, "model": f.needs_model}
        for f in found for s, t in f.scores.items()
    ]  # fmt: skip
    if as_json:
        emit(rows)
        return
    table(rows)
    if name:
        click.echo(f"\n{found[0].doc}\n\nparameters: {found[0].params}")


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
    budget = ", ".join(f"{_cell(v)} {k}" for k, v in out["budget"].items())
    click.echo(f"budget: {budget}; weights count {out['unit']}\n")
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
        click.echo(diffs.text(out))
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

    with index.opened(Store(store)) as found:
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

    with index.opened(Store(store)) as found:
        out = found.show(ref)
    if as_json:
        emit(out)
        return
    table(
        [{"field": k, "value": json.dumps(v, default=str) if isinstance(v, dict | list) else v} for k, v in out.items()]
    )


@catalog.command("rebuild")
@STORE
def catalog_rebuild(store: Path) -> None:
    """Make the index again from the files."""
    from catalog import index
    from catalog.store import Store

    with index.rebuild(Store(store)) as found:
        click.echo(f"{len(found.ls(None))} entries")


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
    """Say where each package was imported from, which versions are here, and whether a GPU is.

    Fails when one of our top-level names is somebody else's.
    """
    import importlib
    import importlib.metadata
    import platform

    names = ("catalog", "cli", "curate", "filters", "mixtures", "trainer")
    home = Path(__file__).resolve().parent
    rows: list[dict[str, Any]] = []
    for name in names:
        path = Path(str(importlib.import_module(name).__file__ if name != "cli" else __file__)).resolve()
        rows.append({"name": name, "found": str(path), "ok": path.is_relative_to(home)})
    for name in ("torch", "open_clip_torch", "polars", "pyarrow", "faiss-cpu", "faiss-gpu", "ray", "datasets"):
        try:
            rows.append({"name": name, "found": importlib.metadata.version(name), "ok": True})
        except importlib.metadata.PackageNotFoundError:
            rows.append({"name": name, "found": None, "ok": True})
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    rows.append({"name": "python", "found": platform.python_version(), "ok": True})
    rows.append({"name": "gpus", "found": gpus, "ok": True})
    emit(rows) if as_json else table(rows)
    if not all(r["ok"] for r in rows):
        msg = "another package shadows one of ours"
        raise UserError(msg, hint="install cuvee into an environment of its own")


def main() -> None:
    """Run the command line; every expected failure ends in one clear line and an exit code."""
    try:
        code = cuvee.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except UserError as e:
        say(f"error: {e}")
        sys.exit(2 if e.usage else 1)
    except click.UsageError as e:
        e.show()
        sys.exit(2)
    except click.ClickException as e:
        e.show()
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        say("interrupted: what was finished is kept, the same command goes on from there")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as e:
        from catalog.files import explain

        say(f"error: {explain(e, Path(str(e.filename or '')))}" if e.filename else f"error: {e}")
        sys.exit(1)


if __name__ == "__main__":
    main()
