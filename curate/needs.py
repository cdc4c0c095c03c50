"""Which stages of a recipe need an extra that is not installed: told before anything is read, not after hours of scoring.

Nobody declares it. A filter that misses a package says so in a `UserError` with the line that installs it. Where its code may
raise that, for an extra that is not installed, it is asked to score a few made-up samples: what it raises is what a run would.
"""

import functools
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from PIL import Image

from catalog import extras
from catalog.errors import UserError
from catalog.schema import SAMPLE
from curate import uses
from curate.recipe import Recipe, StageSpec
from filters import base
from filters.shared.images import Images


def needs(recipe: Recipe) -> list[dict[str, Any]]:
    """Return {stage, extra, missing, install, message} of every stage that an uninstalled extra would stop."""
    return [found for stage in recipe.stages for found in _of(stage, {m.name for m in recipe.models})]


def check(recipe: Recipe) -> None:
    """Raise `UserError` where a stage needs what is not installed."""
    found = needs(recipe)
    if found:
        wanted = sorted({f["extra"] for f in found})
        said = "; ".join(f"stage `{f['stage']}` needs {', '.join(f['missing'])}" for f in found)
        msg = f"not installed: {said}"
        raise UserError(msg, hint=extras.line(",".join(wanted)))


def _of(stage: StageSpec, fitted: set[str]) -> Iterator[dict[str, Any]]:
    # A model that the run itself fits is not there yet.
    params = {k: v for k, v in stage.params.items() if not (k == "model" and v in fitted)}
    flt = base.load(stage.filter, params)
    lacking = [e for e in sorted(uses.extras(flt)) if e in extras.names() and extras.missing(e)]
    if not lacking:
        return
    try:
        _try(flt)
    except UserError as e:
        for extra in extras.INSTALL.findall(str(e)):
            if extra in lacking:
                yield {
                    "stage": stage.filter,
                    "extra": extra,
                    "missing": extras.missing(extra),
                    "install": extras.line(extra),
                    "message": e.message,
                }
    except Exception:  # whatever else is wrong with it, a run says better
        return


def _try(flt: base.Filter) -> None:
    batch = _made_up()
    scores = flt.score(batch, Images.read(batch, _Picture()) if flt.needs_images else None)
    if flt.pool is not None:
        heads = ("id", "source", "task")
        flt.pool(pa.table([*(batch[h] for h in heads), *scores.columns], [*heads, *scores.schema.names]))


class _Picture:
    """Reads one small picture, whatever is asked for."""

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """Return its bytes."""
        return _png()


@functools.cache
def _png() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(out, "PNG")
    return out.getvalue()


def _made_up() -> pa.RecordBatch:
    """Return samples of several tasks with a picture and a box: the same question, answered differently."""
    png = _png()
    medium = {
        "kind": "image", "digest": "0" * 64, "mime": "image/png", "width": 64, "height": 48,
        "shard": "x", "offset": 0, "size": len(png),
    }  # fmt: skip
    box = {"media": 0, "text": "Total 12.50", "quad": [2.0, 2.0, 60.0, 2.0, 60.0, 20.0, 2.0, 20.0], "confidence": 0.9}
    rows = []
    for task in ("caption", "ocr", "document", "math", "text"):
        for n, answer in enumerate(
            ("It is 3 + 4 = 7, so the answer is $\\boxed{7}$.", "One half, that is $\\frac{1}{2}$.")
        ):
            said = [
                {"role": "user", "content": f"<image>What is the sum in this {task}?"},
                {"role": "assistant", "content": answer},
            ]
            id_ = f"made/{task}-{n}"
            rows.append({"id": id_, "digest": f"{n:064x}", "source": "made", "task": task, "license": "CC0-1.0",
                         "messages": said, "media": [medium], "boxes": [box], "meta": "{}"})  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=SAMPLE)
