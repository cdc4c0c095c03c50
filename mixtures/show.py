"""What a lock holds, as plain rows for a terminal or a page. No formatting here but of digests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.errors import UserError, nearest
from catalog.store import Store
from mixtures.loader import open_lock

WARN_EPOCHS_MILLI = 4_000
"""Muennighoff et al. 2023 (arXiv 2305.16264): up to about 4 epochs repeated text is worth nearly as much as fresh text."""


def find(ref: str, store: Store) -> Path:
    """Return the lock that `name`, `name@version` or a path names; without a version the highest one."""
    path = Path(ref)
    if path.suffix == ".json" or (path / "mixture.lock.json").is_file():
        return path if path.suffix == ".json" else path / "mixture.lock.json"
    name, _, version = ref.partition("@")
    found = sorted(store.root.glob("mixtures/*/*/mixture.lock.json"), key=lambda p: (p.parts[-3], _key(p.parts[-2])))
    named = {p.parts[-2]: p for p in found if p.parts[-3] == name}
    if not named:
        msg = f"no mixture named `{name}`{nearest(name, {p.parts[-3] for p in found})}"
        raise UserError(msg, hint="`cuvee mix lock SPEC` makes one", usage=True)
    if version and version not in named:
        msg = f"no version `{version}` of mixture `{name}`{nearest(version, named)}"
        raise UserError(msg, usage=True)
    return named[version] if version else list(named.values())[-1]


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(x) if x.isdigit() else -1 for x in version.split("."))


def show(path: Path) -> dict[str, Any]:
    """Return a lock as {id, name, version, unit, seed, budget, order, components: rows, warnings}."""
    lock = open_lock(path)
    total = lock["budget"]["samples"]
    components = [_component(s, total) for s in lock["sources"]]
    return {
        "id": lock["id"],
        "name": lock["name"],
        "version": lock["version"],
        "unit": lock["unit"],
        "seed": lock["seed"],
        "policy": lock["policy"],
        "budget": lock["budget"],
        "order": lock["order"],
        "components": components,
        "warnings": warnings(lock),
        "path": str(path),
    }


def _component(source: Mapping[str, Any], total: int) -> dict[str, Any]:
    take, select = source["take"], source["select"]
    return {
        "name": source["name"],
        "dataset": f"{source['dataset']}@{source['version']}",
        "available": select["samples"],
        "samples": take["samples"],
        "tokens": take["tokens"],
        "images": take["images"],
        "share_ppm": take["samples"] * 1_000_000 // total,
        "asked_ppm": source["asked_ppm"],
        "effective_ppm": source["effective_ppm"],
        "epochs_milli": source["epochs_milli"],
        "capped_by": source["capped_by"],
        "licences": [x["expression"] for x in source["licence"]],
    }


def warnings(lock: Mapping[str, Any]) -> list[str]:
    """Return what somebody should know before training on this."""
    out = []
    for s in lock["sources"]:
        if s["epochs_milli"] > WARN_EPOCHS_MILLI:
            epochs = f"{s['epochs_milli'] // 1000}.{s['epochs_milli'] % 1000:03d}"
            out.append(f"`{s['name']}` is seen {epochs} times; above 4 repeats add little (arXiv 2305.16264)")
        if not s["take"]["samples"]:
            out.append(f"`{s['name']}` gets no sample: its share of the budget is less than one")
        unknown = sum(x["samples"] for x in s["licence"] if x["expression"] == "unknown")
        if unknown:
            out.append(f"`{s['name']}`: {unknown:,} of {s['select']['samples']:,} samples have no known licence")
    return out
