"""The truth about a planted corpus, and how well a run of the pipeline found it. The pipeline never reads this file.

`truth.parquet` has one row per training sample:
- source, locator: the sample is `<source>/<locator>`;
- defect: what is wrong with it (`defects.KINDS`), null for a clean sample;
- of: for a duplicate the id of its original, which is clean; for a leak `heldout/<set>/<locator>` of the evaluation item;
- expect: what a good pipeline does with it: keep, drop, or reject (it cannot become a sample at all).
"""

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.store import DatasetVersion, Store
from curate.synth.defects import DUPLICATES

TRUTH = pa.schema(
    [
        ("source", pa.string()),
        ("locator", pa.string()),
        ("defect", pa.string()),
        ("of", pa.string()),
        ("expect", pa.string()),
    ]
)

CLEAN = "clean"

STAGES: Mapping[str, tuple[str, ...]] = {
    "exact_duplicate": ("dedup_exact", "dedup_minhash", "dedup_phash"),
    "duplicate_reencoded": ("dedup_phash",),
    "duplicate_resized": ("dedup_phash",),
    "duplicate_cropped": ("dedup_phash",),
    "duplicate_brightness": ("dedup_phash",),
    "duplicate_caption_edited": ("dedup_phash",),
    "near_duplicate_text": ("dedup_minhash",),
    "leak_text": ("decontaminate_text",),
    "leak_image": ("decontaminate_image",),
    "mismatched_caption": ("clip_score",),
    "boilerplate_alt": ("caption_rules",),
    "blank_image": ("image_entropy",),
    "tiny_image": ("image_size",),
    "blurred_image": ("blur",),
    "banner_image": ("aspect_ratio",),
    "wrong_answer": ("arithmetic_check",),
    "broken_latex": ("latex_balance",),
    "ocr_noise": ("ocr_confidence", "ocr_coverage"),
    "gibberish": ("gibberish",),
    "repetition": ("gopher_repetition",),
}
"""The stages that are there to catch a kind; their wrong drops count against its precision. Ingest rejects corrupt files."""


def score(
    truth: pa.Table,
    kept_ids: Collection[str],
    rejected: Collection[str] = (),
    *,
    dropped_by: Mapping[str, Collection[str]] | None = None,
    stages: Mapping[str, Collection[str]] | None = None,
) -> list[dict[str, Any]]:
    """Return one row per defect kind and one for the clean samples: what was planted, what was caught, at what price.

    caught: samples that are not kept. A duplicate is caught when not all of its group (the original and its copies) are
    kept more than once: whichever survives, so if the original was dropped for its copy, that is right. A corrupt file is
    caught when it was rejected, or did not show up at all.
    recall: caught / planted.

    by_own_stage: how many of them a stage in `stages` dropped; a stage before may have taken the others.

    With `dropped_by` (id -> the stages that dropped it) and `stages` (kind -> the stages that are there to catch it):
    dropped: how many samples those stages dropped; wrongly_dropped: the clean ones among them, unless the sample is the
    original of a planted duplicate whose copy was kept; precision: 1 - wrongly_dropped / dropped. A stage is not blamed
    for a sample that has another defect than its own: it had to go. Without them, and where those stages dropped
    nothing, these are null.

    The last row, `clean`: planted = clean samples, wrongly_dropped = those of them that are neither kept nor the dropped
    half of a planted pair; caught, recall and precision are null.
    """
    kept, gone = set(kept_ids), set(rejected)
    rows = [{**r, "id": f"{r['source']}/{r['locator']}"} for r in truth.to_pylist()]
    defect = {r["id"]: r["defect"] for r in rows}
    copies: dict[str, list[str]] = {}
    for r in rows:
        if r["defect"] in DUPLICATES:
            copies.setdefault(r["of"], []).append(r["id"])
    excused = {original for original, ids in copies.items() if any(i in kept for i in ids)}

    def caught(r: Mapping[str, Any]) -> bool:
        if r["defect"] in DUPLICATES:
            # An original that another rule dropped wrongly must not make its kept copy look uncaught.
            return r["id"] not in kept or r["of"] not in kept
        if r["expect"] == "reject":
            return r["id"] in gone or r["id"] not in kept
        return r["id"] not in kept

    out = []
    for kind in sorted({r["defect"] for r in rows if r["defect"]}):
        planted = [r for r in rows if r["defect"] == kind]
        hits = sum(caught(r) for r in planted)
        row: dict[str, Any] = {
            "defect": kind, "planted": len(planted), "caught": hits, "recall": hits / len(planted), "by_own_stage": None,
            "dropped": None, "wrongly_dropped": None, "precision": None,
        }  # fmt: skip
        if dropped_by is not None and stages is not None and kind in stages:
            wanted = set(stages[kind])
            dropped = [i for i, by in dropped_by.items() if i in defect and wanted & set(by)]
            mine = set(dropped)
            row["by_own_stage"] = sum(r["id"] in mine or (kind in DUPLICATES and r["of"] in mine) for r in planted)
            wrong = [i for i in dropped if defect[i] is None and i not in excused]
            row["dropped"], row["wrongly_dropped"] = len(dropped), len(wrong)
            row["precision"] = 1 - len(wrong) / len(dropped) if dropped else None
        out.append(row)
    clean = [r["id"] for r in rows if r["defect"] is None]
    lost = sum(i not in kept and i not in excused for i in clean)
    out.append(
        {
            "defect": CLEAN, "planted": len(clean), "caught": None, "recall": None, "by_own_stage": None,
            "dropped": sum(i not in kept for i in clean), "wrongly_dropped": lost, "precision": None,
        }
    )  # fmt: skip
    return out


def of_dataset(store: Store, dataset: DatasetVersion, truth: pa.Table) -> list[dict[str, Any]]:
    """Return `score` for a dataset version of the planted corpus: kept, rejected and dropping stages come from its ledger."""
    kept: set[str] = set()
    gone: set[str] = set()
    by: dict[str, set[str]] = {}
    for source in dataset.sources:
        kept.update(store.kept(dataset, source["name"])["id"].to_pylist())
        verdicts = store.verdicts(dataset, source["name"])
        dropped = verdicts.filter(pc.invert(verdicts["keep"])).select(["id", "stage"])
        for id_, stage in zip(dropped["id"].to_pylist(), dropped["stage"].to_pylist(), strict=True):
            by.setdefault(id_, set()).add(stage)
        for table in store.rejects(store.source(f"{source['name']}@{source['digest']}")):
            gone.update(f"{source['name']}/{locator}" for locator in table["locator"].to_pylist())
    return score(truth, kept, gone, dropped_by=by, stages=STAGES)
