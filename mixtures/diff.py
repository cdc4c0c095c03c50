"""What changed between two locks, in three layers: what was asked (spec), what it came to (plan), and which samples."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mixtures.loader import open_lock
from mixtures.members import Members, file_name

IDS = 20
_PLAN = ("samples", "tokens", "images")
_FIELDS = ("effective_ppm", "epochs_milli", "capped_by", "dataset", "version")


def diff(a: Path, b: Path, *, ids: int = IDS) -> dict[str, Any]:
    """Return the differences from lock `a` to lock `b` as JSON: {equal, a, b, spec, plan, samples}.

    `equal` is that the two ids are equal. At most `ids` sample ids are listed per component and kind; counts are complete.
    """
    first, second = open_lock(a), open_lock(b)
    equal = first["id"] == second["id"]
    return {
        "equal": equal,
        "a": _head(first),
        "b": _head(second),
        "spec": [] if equal else _spec(first, second),
        "plan": {} if equal else _plan(first, second),
        "samples": [] if equal else list(_samples(a, first, b, second, ids)),
    }


def _head(lock: Mapping[str, Any]) -> dict[str, Any]:
    return {k: lock[k] for k in ("id", "name", "version")}


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _flat(value[key], f"{at}.{key}" if at else key)
    else:
        yield at, value


def _spec(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    def fields(lock: Mapping[str, Any]) -> dict[str, Any]:
        spec = dict(lock.get("volatile", {}).get("spec", {}))
        spec["sources"] = {s["name"]: s for s in spec.get("sources", ())}
        return dict(_flat(spec))

    was, now = fields(first), fields(second)
    changed = sorted(k for k in was.keys() | now.keys() if was.get(k) != now.get(k))
    return [{"field": k, "a": was.get(k), "b": now.get(k)} for k in changed]


def _plan(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    was, now = ({s["name"]: s for s in lock["sources"]} for lock in (first, second))
    rows = []
    distance = Fraction(0)
    for name in sorted(was.keys() | now.keys()):
        old, new = was.get(name), now.get(name)
        share = [
            Fraction(s["plan"], lock["budget"]["units"]) if s else Fraction(0)
            for s, lock in ((old, first), (new, second))
        ]
        distance += abs(share[0] - share[1])
        row: dict[str, Any] = {
            "component": name,
            "state": "added" if old is None else "removed" if new is None else "same",
        }
        for field in (*_PLAN, *_FIELDS):
            pair = [None if s is None else s["take"][field] if field in _PLAN else s[field] for s in (old, new)]
            if pair[0] != pair[1]:
                row[field] = {"a": pair[0], "b": pair[1]}
                row["state"] = "changed" if row["state"] == "same" else row["state"]
        rows.append(row)
    fields = ("unit", "seed", "sampler", "tokenizer", "splits", "policy", "budget")
    top = [{"field": k, "a": first.get(k), "b": second.get(k)} for k in fields if first.get(k) != second.get(k)]
    return {"components": rows, "fields": top, "total_variation_ppm": int(distance / 2 * 1_000_000)}


def _samples(
    a: Path, first: Mapping[str, Any], b: Path, second: Mapping[str, Any], most: int
) -> Iterator[dict[str, Any]]:
    was, now = ({s["name"]: s for s in lock["sources"]} for lock in (first, second))
    for name in sorted(was.keys() | now.keys()):
        old, new = was.get(name), now.get(name)
        if old and new and old["select"]["content"] == new["select"]["content"]:
            continue
        left = (
            _ids(a, name) if old else pa.table({"id": pa.array([], pa.string()), "digest": pa.array([], pa.string())})
        )
        right = _ids(b, name) if new else left.slice(0, 0)
        added = _sorted(right.filter(pc.invert(pc.is_in(right["id"], left["id"])))["id"])
        removed = _sorted(left.filter(pc.invert(pc.is_in(left["id"], right["id"])))["id"])
        at = pc.index_in(left["id"], right["id"])
        both = left.filter(pc.is_valid(at))
        theirs = right["digest"].take(pc.drop_null(at))
        changed = _sorted(both.filter(pc.not_equal(both["digest"], theirs))["id"])
        yield {
            "component": name,
            **{k: {"count": len(v), "ids": v.slice(0, most).to_pylist()} for k, v in
               (("added", added), ("removed", removed), ("changed", changed))},
        }  # fmt: skip


def _ids(path: Path, name: str) -> pa.Table:
    folder = path if path.is_dir() else path.parent
    table = Members(folder / file_name(name))
    return pa.table({"id": table.column("id"), "digest": table.column("digest")})


def _sorted(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    return ids.take(pc.sort_indices(ids))


def to_text(found: Mapping[str, Any]) -> str:
    """Return a diff as lines for a person."""
    a, b = found["a"], found["b"]
    lines = [f"{a['name']} {a['version']} {a['id'][:23]} -> {b['name']} {b['version']} {b['id'][:23]}"]
    if found["equal"]:
        return "\n".join([*lines, "equal"]) + "\n"
    lines.append("spec")
    lines += [f"  {x['field']}: {x['a']} -> {x['b']}" for x in found["spec"]] or ["  (same)"]
    lines.append(f"plan (total variation {found['plan']['total_variation_ppm'] / 10_000:.2f} %)")
    for row in found["plan"]["components"]:
        parts = [f"{k} {v['a']} -> {v['b']}" for k, v in row.items() if isinstance(v, Mapping)]
        lines.append(f"  {row['component']}: {row['state']}" + (f"; {', '.join(parts)}" if parts else ""))
    lines.append("samples")
    for row in found["samples"]:
        counts = ", ".join(f"{row[k]['count']:,} {k}" for k in ("added", "removed", "changed"))
        lines.append(f"  {row['component']}: {counts}")
        signs = (("+", "added"), ("-", "removed"), ("~", "changed"))
        lines += [f"    {sign} {id_}" for sign, key in signs for id_ in row[key]["ids"]]
    if not found["samples"]:
        lines.append("  (same)")
    return "\n".join(lines) + "\n"
