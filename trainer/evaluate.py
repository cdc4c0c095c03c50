"""How well a model answers held-out items: one row per item and metric, nothing averaged away.

    loss    nats per answer token, the right answer given (teacher forcing): every task, every item; lower is better
    score   the task's own metric (`metrics.BY_TASK`) of a greedily generated answer: the first `generate` items of each task
            by id; higher is better

Loss is the most sensitive measure: it moves long before an answer flips from wrong to right. The loss of text-only items, before
and after, is NVLM's regression guard.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from catalog.errors import UserError
from catalog.files import atomic
from trainer.batch import collate
from trainer.features import Features, Progress, cache_name, compute, quiet
from trainer.fusion import NVLM
from trainer.items import Item, Opener, distinct, encode, image_readers, open_lock
from trainer.metrics import BY_TASK
from trainer.tokenizer import Tokenizer
from trainer.train import fresh_model, load_backbone, load_model
from trainer.vision import VisionEncoder

RESULT = pa.schema(
    [
        ("item", pa.string()),
        ("task", pa.string()),
        ("metric", pa.string()),  # loss | exact_match | anls | relaxed_accuracy | numeric_match
        ("value", pa.float64()),
        ("answer", pa.string()),  # what the model said; null for loss
    ]
)

TEXT_TASKS = ("text", "code")


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """How evaluation is done; the same for every arm."""

    max_tiles: int = 6
    max_length: int = 512
    batch: int = 64
    items: int = 0  # of each task, first by id; 0: all
    generate: int = 20  # items of each task whose answer is generated
    max_new_tokens: int = 24
    threads: int = 1


def held_out(locks: Mapping[str, Path], config: EvalConfig, open_lock: Opener = open_lock) -> dict[str, list[Item]]:
    """Return the items of each task's lock, by id. The key of `locks` is the task that its items count for."""
    found: dict[str, list[Item]] = {}
    for task, path in locks.items():
        items = [i for i in distinct(open_lock(path)) if i.answer or not i.images]
        if not items:
            msg = f"held-out lock `{path}` of task `{task}` has no item with an answer"
            raise UserError(msg)
        found[task] = items[: config.items or None]
    return found


def evaluate(
    model: NVLM,
    tokenizer: Tokenizer,
    items: Mapping[str, Sequence[Item]],
    features: Features | None,
    config: EvalConfig,
    progress: Progress = quiet,
) -> pa.Table:
    """Return the RESULT rows of `model` on `items` by task."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    model.eval()
    rows: list[dict[str, Any]] = []
    try:
        rows += _losses(model, tokenizer, items, features, config, progress)
        for task, those in items.items():
            if task in BY_TASK and config.generate:
                # Shuffling would need a seed; by id is as good, as ids do not know how hard an item is.
                rows += _scores(model, tokenizer, task, those[: config.generate], features, config)
                progress(1, 1, f"answering {task}")
    finally:
        torch.set_num_threads(before)
    return pa.Table.from_pylist(rows, schema=RESULT)


def _losses(model: NVLM, tokenizer: Tokenizer, items: Mapping[str, Sequence[Item]], features: Features | None,
            config: EvalConfig, progress: Progress) -> list[dict[str, Any]]:  # fmt: skip
    flat = [(task, i) for task, those in items.items() for i in those]
    encoded = [_encode(model, tokenizer, i, features, config) for _, i in flat]
    order = sorted(range(len(flat)), key=lambda k: encoded[k].length)
    value: dict[int, float] = {}
    for first in range(0, len(order), config.batch):
        chosen = [k for k in order[first : first + config.batch] if encoded[k].trained]
        if chosen:
            batch = collate([encoded[k] for k in chosen], [_pixels(flat[k][1], features, config) for k in chosen])  # fmt: skip
            sums, counts = model.losses(batch)
            value.update(zip(chosen, (sums.double() / counts).tolist(), strict=True))
        progress(min(first + config.batch, len(order)), len(order), "held-out loss")
    # An item whose answer was cut away by `max_length` has no loss and no row.
    return [
        {"item": i.id, "task": task, "metric": "loss", "value": value[k]}
        for k, (task, i) in enumerate(flat)
        if k in value
    ]


def _scores(model: NVLM, tokenizer: Tokenizer, task: str, items: Sequence[Item], features: Features | None,
            config: EvalConfig) -> list[dict[str, Any]]:  # fmt: skip
    name, metric = BY_TASK[task]
    rows: list[dict[str, Any]] = []
    for first in range(0, len(items), config.batch):
        some = [i for i in items[first : first + config.batch] if i.answer]
        if not some:
            continue
        prompts = [_encode(model, tokenizer, i, features, config, prompt=True) for i in some]
        batch = collate(prompts, [_pixels(i, features, config) for i in some])
        for item, ids in zip(some, model.generate(batch, config.max_new_tokens), strict=True):
            said = tokenizer.decode(ids).strip()
            rows.append(
                {"item": item.id, "task": task, "metric": name, "value": metric(said, [item.answer]), "answer": said}
            )
    return rows


def _encode(model: NVLM, tokenizer: Tokenizer, item: Item, features: Features | None, config: EvalConfig, *,
            prompt: bool = False) -> Any:  # fmt: skip
    length = None if prompt else config.max_length  # a prompt that is cut at its end asks nothing
    return encode(item, model.config, tokenizer, features, max_tiles=config.max_tiles, max_length=length, prompt=prompt)


def _pixels(item: Item, features: Features | None, config: EvalConfig) -> Tensor | None:
    if not item.images or features is None:
        return None
    return torch.cat([features.get(d, max_tiles=config.max_tiles) for d in item.images])


def evaluate_run(
    run: Path,
    locks: Mapping[str, Path],
    *,
    backbone: Path,
    clip: Path,
    features: Path,
    config: EvalConfig | None = None,
    complete: bool = False,
    progress: Progress = quiet,
    open_lock: Opener = open_lock,
) -> pa.Table:
    """Evaluate a trained run, or the backbone itself (`run == backbone`: text only), on held-out locks by task.

    The rows are also written to `<run>/evaluation.parquet`.
    """
    config = config or EvalConfig()
    base = load_backbone(backbone)
    before = run == backbone
    model = fresh_model(base, "D", seed=0).eval() if before else load_model(run)[0]
    items = held_out(locks, config, open_lock)
    if before:
        items = {task: [i for i in those if not i.images] for task, those in items.items()}
        items = {task: those for task, those in items.items() if those}
    cache = open_features(
        locks.values(), clip=clip, features=features, max_tiles=config.max_tiles, complete=complete or before,
        progress=progress, open_lock=open_lock,
    )  # fmt: skip
    table = evaluate(model, base.tokenizer, items, cache, config, progress)
    with atomic(run / "evaluation.parquet") as f:
        pq.write_table(table, f)
    return table


def open_features(
    locks: Any,
    *,
    clip: Path,
    features: Path,
    max_tiles: int,
    complete: bool,
    progress: Progress = quiet,
    open_lock: Opener = open_lock,
) -> Features:
    """Return the feature cache of a CLIP's encoder, what the locks need computed first unless it is `complete`."""
    encoder = VisionEncoder.from_clip(clip)
    tile = encoder.config.tile
    if complete:
        return Features(features / cache_name(encoder, tile=tile, max_tiles=max_tiles))
    readers = image_readers([open_lock(path) for path in locks])
    return compute(readers, encoder, features, tile=tile, max_tiles=max_tiles, progress=progress)


def summary(table: pa.Table) -> list[dict[str, Any]]:
    """Return the mean and the number of items of every task and metric."""
    means = table.group_by(["task", "metric"]).aggregate([("value", "mean"), ("value", "count")]).sort_by(
        [("task", "ascending"), ("metric", "ascending")]
    )  # fmt: skip
    return [
        {"task": r["task"], "metric": r["metric"], "mean": r["value_mean"], "items": r["value_count"]}
        for r in means.to_pylist()
    ]


def to_dict(config: EvalConfig) -> dict[str, Any]:
    """Return the settings as JSON values."""
    return dataclasses.asdict(config)
