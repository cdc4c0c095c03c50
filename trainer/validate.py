"""`cuvee validate`: does this mixture train better models than that one?

A grid of runs, arms x architectures x seeds, all from one backbone, all for the same number of samples seen; each is measured
by its final checkpoint on the same held-out items. Then paired differences (left minus right, per seed and item) with
hierarchical bootstrap intervals (`stats.py`), Holm-corrected over the architectures. Every number of the comparison can be
computed again from results.parquet: `compare(pq.read_table(path), arms)`.

    <out>/<id>/  experiment.json  backbone/  features/  runs/<run>/  cells/<arm>-<arch>-<seed>.json + .parquet
                 results.parquet  report.json  report.html

A cell is finished when its .json is there; run again, only unfinished cells are done, and a killed run goes on from its last
checkpoint.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.errors import UserError, unknown_keys, wrong_kinds
from catalog.files import atomic, read_json, write_json
from trainer.backbone import BackboneConfig, train_backbone
from trainer.checkpoint import config_digest
from trainer.config import ARCHS, Arch
from trainer.evaluate import RESULT, TEXT_TASKS, EvalConfig, evaluate_run, open_features
from trainer.features import Progress, encoder_digest, quiet
from trainer.items import Opener, open_lock
from trainer.report import write_html
from trainer.stats import Interval, bootstrap, holm, paired
from trainer.train import TrainConfig, metrics, train
from trainer.vision import VisionEncoder

Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]
"""An engine's `map`: yields task(item) for every item, in any order."""

RESULTS = pa.schema([("arm", pa.string()), ("arch", pa.string()), ("seed", pa.int64()), *RESULT])
MIN_SEEDS = 3


def serial(task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Run one after another in this process."""
    return map(task, items)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is compared. The first arm is compared with every other one: curated, then raw."""

    arms: Mapping[str, Path]  # name -> mixture lock
    eval: Mapping[str, Path]  # task -> held-out lock
    clip: Path  # folder of the CLIP whose image tower is the frozen encoder
    architectures: tuple[Arch, ...] = ARCHS
    seeds: tuple[int, ...] = (1, 2, 3)
    samples: int = 4096  # seen by every run, both stages together
    stage_1: float = 0.25  # share of them in stage 1
    backbone_locks: tuple[Path, ...] = ()  # text for stage 0; default: the first arm's lock
    train: Mapping[str, Any] = field(default_factory=dict)  # TrainConfig but arch, seed and samples
    backbone: Mapping[str, Any] = field(default_factory=dict)  # BackboneConfig
    evaluation: Mapping[str, Any] = field(default_factory=dict)  # EvalConfig
    confidence: float = 0.95

    def __post_init__(self) -> None:
        """Refuse an experiment that can show nothing."""
        wrong = [
            (len(self.arms) < 2, f"{len(self.arms)} arms; expected at least 2"),
            (len(set(self.seeds)) < MIN_SEEDS, f"{len(set(self.seeds))} seeds; expected at least {MIN_SEEDS} different ones"),
            (len(set(self.seeds)) != len(self.seeds), "a seed stands twice"),
            (not self.architectures or not set(self.architectures) <= set(ARCHS), f"architectures {list(self.architectures)};"
             f" expected some of {', '.join(ARCHS)}"),
            (not self.eval, "no held-out locks"),
            (not 0 <= self.stage_1 < 1, f"stage_1 {self.stage_1}; expected a share within 0..1"),
            (self.samples < 1, f"samples {self.samples}; expected at least 1"),
            (not 0.5 < self.confidence < 1, f"confidence {self.confidence}; expected 0.5..1"),
        ]  # fmt: skip
        for bad, msg in wrong:
            if bad:
                text = f"experiment: {msg}"
                raise UserError(text, usage=True)
        for key in ("arch", "seed", "samples_1", "samples_2"):
            if key in self.train:
                text = f"experiment: `train.{key}` is set by the grid"
                raise UserError(text, hint="use `architectures`, `seeds`, `samples` and `stage_1`", usage=True)
        self.train_config(self.architectures[0], self.seeds[0])
        self.backbone_config()
        self.eval_config()

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, base: Path = Path()) -> "Experiment":
        """Build from a spec as YAML gives it; paths are relative to `base`; an unknown key is an error with the nearest name."""
        unknown_keys(spec, (f.name for f in dataclasses.fields(cls)), "the experiment")
        for key in ("arms", "eval", "clip"):
            if key not in spec:
                msg = f"the experiment has no `{key}`"
                raise UserError(msg, usage=True)
        wrong_kinds(spec, {f.name: f.default for f in dataclasses.fields(cls)}, "the experiment")
        for key in ("architectures", "seeds", "backbone_locks"):
            if not isinstance(spec.get(key) or [], list):
                msg = f"`{key}` of the experiment must be a list, got `{spec[key]}`"
                raise UserError(msg, usage=True)
        made: dict[str, Any] = dict(spec)
        for key in ("arms", "eval"):
            made[key] = {str(k): base / str(v) for k, v in _mapping(spec[key], key).items()}
        for key in ("train", "backbone", "evaluation"):
            made[key] = _mapping(spec.get(key) or {}, key)
        made["clip"] = base / str(spec["clip"])
        made["backbone_locks"] = tuple(base / str(p) for p in spec.get("backbone_locks") or ())
        for key in ("architectures", "seeds"):
            if key in spec:
                made[key] = tuple(spec[key])
        return cls(**made)

    def train_config(self, arch: Arch, seed: int) -> TrainConfig:
        """Return the settings of one run: the same for every arm."""
        first = round(self.samples * self.stage_1)
        grid = {"arch": arch, "seed": seed, "samples_1": first, "samples_2": self.samples - first}
        return TrainConfig.from_dict({**self.train, **grid})

    def backbone_config(self) -> BackboneConfig:
        """Return the settings of stage 0."""
        return BackboneConfig.from_dict(self.backbone)

    def eval_config(self) -> EvalConfig:
        """Return the settings of evaluation; tiles, length and threads as in training unless said."""
        unknown_keys(self.evaluation, (f.name for f in dataclasses.fields(EvalConfig)), "`evaluation`")
        wrong_kinds(self.evaluation, dataclasses.asdict(EvalConfig()), "`evaluation`")
        t = TrainConfig.from_dict(self.train)
        same = {"max_tiles": t.max_tiles_2, "max_length": t.max_length, "threads": t.threads}
        return EvalConfig(**{**same, **self.evaluation})


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        msg = f"`{key}` of the experiment is {type(value).__name__}; expected a mapping"
        raise UserError(msg, usage=True)
    return value


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of the grid with its evaluation: a picklable task."""

    arm: str
    lock: Path
    config: TrainConfig
    evaluation: EvalConfig
    eval: Mapping[str, Path]
    backbone: Path
    clip: Path
    folder: Path
    open_lock: Opener

    @property
    def name(self) -> str:
        """Name of the cell's files."""
        return f"{self.arm}-{self.config.arch}-{self.config.seed}"


def run_cell(cell: Cell) -> dict[str, Any]:
    """Train and evaluate one cell, or return what it came to before."""
    path = cell.folder / "cells" / f"{cell.name}.json"
    if path.exists():
        found: dict[str, Any] = read_json(path)
        return found
    run = train(cell.config, lock=cell.lock, backbone=cell.backbone, clip=cell.clip, out=cell.folder / "runs",
                features=cell.folder / "features", complete=True, open_lock=cell.open_lock)  # fmt: skip
    began = time.perf_counter()
    table = evaluate_run(run, cell.eval, backbone=cell.backbone, clip=cell.clip, features=cell.folder / "features",
                         config=cell.evaluation, complete=True, open_lock=cell.open_lock)  # fmt: skip
    with atomic(path.with_suffix(".parquet")) as f:
        pq.write_table(table, f)
    curve = metrics(run).select(["stage", "samples", "loss"]).to_pylist()
    result = {"arm": cell.arm, "arch": cell.config.arch, "seed": cell.config.seed, "run": run.name, "curve": curve,
              "train_seconds": read_json(run / "config.json")["seconds"],
              "eval_seconds": time.perf_counter() - began}  # fmt: skip
    write_json(path, result)
    return result


def validate(
    experiment: Experiment,
    *,
    out: Path,
    map: Map = serial,  # noqa: A002 - an engine's own word
    progress: Progress = quiet,
    open_lock: Opener = open_lock,
) -> tuple[dict[str, Any], Path]:
    """Run the grid; return (what report.json holds, the experiment's folder `out/<id>`). Its first part, features and stage 0,
    runs in this process; the grid runs on `map`.
    """
    clock = time.perf_counter()
    corpora = {name: open_lock(path) for name, path in experiment.arms.items()}
    held = {name: open_lock(path).id for name, path in experiment.eval.items()}
    locks = experiment.backbone_locks or (next(iter(experiment.arms.values())),)
    settings = {
        "arms": {name: c.id for name, c in corpora.items()},
        "eval": held,
        "backbone_locks": [open_lock(p).id for p in locks],
        "architectures": list(experiment.architectures),
        "seeds": list(experiment.seeds),
        "samples": experiment.samples,
        "stage_1": experiment.stage_1,
        "confidence": experiment.confidence,
        "train": experiment.train_config(experiment.architectures[0], 0).identity | {"arch": None, "seed": None},
        "backbone": dataclasses.asdict(experiment.backbone_config()),
        "evaluation": dataclasses.asdict(experiment.eval_config()),
    }
    settings["encoder"] = encoder_digest(VisionEncoder.from_clip(experiment.clip))
    folder = (out / config_digest(settings)[:16]).absolute()  # cells may run in another folder than this process
    write_json(folder / "experiment.json", settings)

    evaluation = experiment.eval_config()
    everything = [*experiment.arms.values(), *experiment.eval.values()]
    open_features(everything, clip=experiment.clip, features=folder / "features", max_tiles=evaluation.max_tiles,
                  complete=False, progress=progress, open_lock=open_lock)  # fmt: skip
    seconds = {"features": time.perf_counter() - clock}
    mark = time.perf_counter()
    backbone = train_backbone(experiment.backbone_config(), locks=locks, clip=experiment.clip, out=folder / "backbone",
                              progress=progress, open_lock=open_lock)  # fmt: skip
    seconds["backbone"] = time.perf_counter() - mark
    mark = time.perf_counter()
    before = evaluate_run(backbone, experiment.eval, backbone=backbone, clip=experiment.clip, features=folder / "features",
                          config=evaluation, complete=True, open_lock=open_lock)  # fmt: skip
    cells = [
        Cell(arm=arm, lock=lock.absolute(), config=experiment.train_config(arch, seed), evaluation=evaluation,
             eval={task: path.absolute() for task, path in experiment.eval.items()},
             backbone=backbone, clip=experiment.clip.absolute(), folder=folder, open_lock=open_lock)
        for seed, arch, (arm, lock) in itertools.product(experiment.seeds, experiment.architectures, experiment.arms.items())
    ]  # fmt: skip
    done: list[dict[str, Any]] = []
    for result in map(run_cell, cells):
        done.append(result)
        progress(len(done), len(cells), f"trained {result['arm']} {result['arch']} seed {result['seed']}")
    seconds["grid"] = time.perf_counter() - mark
    done.sort(key=lambda r: (r["arm"], r["arch"], r["seed"]))

    table = pa.concat_tables(
        [_labelled(cell) for cell in cells] + [_label(before, arm="before", arch="backbone", seed=0)]
    )
    with atomic(folder / "results.parquet") as f:
        pq.write_table(table, f)
    report = {
        "id": folder.name,
        "settings": settings,
        "arms": {
            name: {"lock": c.id, "samples": sum(1 for _ in c.samples()), "positions": len(c)}
            for name, c in corpora.items()
        },
        "samples_seen": experiment.samples,
        "selection": "final checkpoint, no selection",
        "comparisons": compare(table, tuple(experiment.arms), experiment.confidence),
        "text_only": text_guard(table),
        "runs": done,
        "seconds": seconds,
    }
    write_json(folder / "report.json", report)
    write_html(folder / "report.html", report)
    return report, folder


def _labelled(cell: Cell) -> pa.Table:
    table = pq.read_table(cell.folder / "cells" / f"{cell.name}.parquet", partitioning=None)
    return _label(table, arm=cell.arm, arch=cell.config.arch, seed=cell.config.seed)


def _label(table: pa.Table, *, arm: str, arch: str, seed: int) -> pa.Table:
    n = len(table)
    columns = [pa.array([arm] * n, pa.string()), pa.array([arch] * n, pa.string()), pa.array([seed] * n, pa.int64())]
    return pa.table([*columns, *table.columns], schema=RESULTS)


def compare(table: pa.Table, arms: Sequence[str], confidence: float = 0.95) -> list[dict[str, Any]]:
    """Return first arm minus each other arm: for every architecture loss and score, over all tasks and for each task.

    Over all tasks is the mean of the tasks' means. `p_holm` is corrected over all architectures and other arms, separately for
    the overall loss and the overall score; per-task numbers are not corrected: they describe.
    """
    table = table.filter(pc.not_equal(table["arm"], "before"))
    kind = pc.if_else(pc.equal(table["metric"], "loss"), "loss", "score")
    cells: dict[tuple[str, str, str], dict[tuple[int, str], float]] = {}
    task_of: dict[str, str] = {}
    columns = [table[c].to_pylist() for c in ("arm", "arch", "seed", "item", "task", "value")]
    for arm, arch, seed, item, task, value, measure in zip(*columns, kind.to_pylist(), strict=True):
        key = f"{task}\0{item}"  # the same item may be held out in two tasks
        task_of[key] = task
        cells.setdefault((arm, arch, measure), {})[seed, key] = value
    left, archs = arms[0], sorted({arch for _, arch, _ in cells}, key=lambda a: "DXH".find(a))
    out: list[dict[str, Any]] = []
    for measure, right, arch in itertools.product(("loss", "score"), arms[1:], archs):
        a, b = cells.get((left, arch, measure)), cells.get((right, arch, measure))
        if not a or not b:
            continue
        d, _, items = paired(a, b)
        tasks = [task_of[i] for i in items]
        head = {"left": left, "right": right, "arch": arch, "measure": measure}
        means = {"left_mean": _mean(a, items, task_of), "right_mean": _mean(b, items, task_of)}
        out.append({**head, "task": "all", **means, **_row(bootstrap(d, strata=tasks, confidence=confidence))})
        for task in sorted(set(tasks)):
            mine = [k for k, t in enumerate(tasks) if t == task]
            names = [items[k] for k in mine]
            means = {"left_mean": _mean(a, names, task_of), "right_mean": _mean(b, names, task_of)}
            out.append({**head, "task": task, **means, **_row(bootstrap(d[:, mine], confidence=confidence))})
    for measure in ("loss", "score"):
        overall = {f"{r['arch']} {r['right']}": r for r in out if r["measure"] == measure and r["task"] == "all"}
        for name, p in holm({n: r["p"] for n, r in overall.items()}).items():
            overall[name]["p_holm"] = p
    return out


def _mean(values: Mapping[tuple[int, str], float], items: Iterable[str], task_of: Mapping[str, str]) -> float:
    wanted = set(items)
    by_task: dict[str, list[float]] = {}
    for (_, item), value in values.items():
        if item in wanted:
            by_task.setdefault(task_of[item], []).append(value)
    return sum(sum(v) / len(v) for v in by_task.values()) / len(by_task)


def _row(found: Interval) -> dict[str, Any]:
    return dataclasses.asdict(found) | {"clear": found.clear}


def text_guard(table: pa.Table) -> list[dict[str, Any]]:
    """Return the mean loss on text-only tasks of the backbone (before) and of every arm and architecture (after)."""
    table = table.filter(pc.and_(pc.equal(table["metric"], "loss"), pc.is_in(table["task"], pa.array(TEXT_TASKS))))
    means = table.group_by(["task", "arm", "arch"]).aggregate([("value", "mean"), ("value", "count")])
    rows = means.sort_by([("task", "ascending"), ("arm", "ascending"), ("arch", "ascending")]).to_pylist()
    return [
        {"task": r["task"], "arm": r["arm"], "arch": r["arch"], "loss": r["value_mean"], "rows": r["value_count"]}
        for r in rows
    ]
