"""What the code of a filter reaches: which columns of a sample it reads, and which work it shares with other filters.

Nobody declares it. Work that is done once per batch is a function that calls `cached` (`filters/shared/text.py`); two filters
whose code reaches the same one share it. Reaching is read off the compiled functions: what they name, and what that names.
A branch that is not taken counts as well.
"""

import functools
import inspect
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.extras import INSTALL
from catalog.schema import SAMPLE
from filters import base
from filters.shared.text import cached

COLUMNS = frozenset(SAMPLE.names) - {"id", "source", "task"}


@dataclass(frozen=True, kw_only=True)
class Uses:
    """What code reaches: columns of SAMPLE, functions (`<module>.<name>`) whose result is shared, extras that an error names."""

    columns: frozenset[str]
    shared: frozenset[str]
    extras: frozenset[str]


def uses(flt: base.Filter) -> Uses:
    """Return what the scoring half of a filter reaches."""
    return _uses(_plain(flt.fn))


def extras(flt: base.Filter) -> set[str]:
    """Return the extras that a filter may need, with some parameters or others."""
    halves = [flt.fn, *(getattr(h, "func", h) for h in (flt.pool, flt.cluster, flt.build) if h is not None)]
    return {e for half in halves if (fn := _plain(half)) is not None for e in _uses(fn).extras}


@functools.lru_cache(maxsize=512)
def _uses(fn: types.FunctionType) -> Uses:
    columns: set[str] = set()
    shared: set[str] = set()
    extras: set[str] = set()
    seen: set[types.CodeType] = set()
    todo = [(fn.__code__, fn.__globals__, _label(fn))]
    while todo:
        code, names, label = todo.pop()
        if code in seen:
            continue
        seen.add(code)
        columns |= {c for c in _strings(code.co_consts) if c in COLUMNS}
        extras |= {e for c in _strings(code.co_consts) for e in INSTALL.findall(c)}
        todo += [(c, names, label) for c in code.co_consts if isinstance(c, types.CodeType)]
        for other in _named(code, names):
            if other is cached:
                shared.add(label)
            elif other.__module__.startswith("filters."):
                todo.append((other.__code__, other.__globals__, _label(other)))
    return Uses(columns=frozenset(columns), shared=frozenset(shared), extras=frozenset(extras))


def _label(fn: types.FunctionType) -> str:
    return f"{fn.__module__}.{fn.__name__}"


def _strings(constants: Sequence[Any]) -> Iterator[str]:
    for c in constants:
        if isinstance(c, str):
            yield c
        elif isinstance(c, tuple | frozenset):
            yield from (x for x in c if isinstance(x, str))


def _named(code: types.CodeType, names: dict[str, Any]) -> Iterator[types.FunctionType]:
    """Yield the functions that a piece of code names, in its module or in a module of ours."""
    for name in code.co_names:
        found = names.get(name)
        if isinstance(found, types.ModuleType) and found.__name__.startswith("filters."):
            inside = (getattr(found, n, None) for n in code.co_names)
            yield from (f for f in map(_plain, inside) if f is not None)
        elif (fn := _plain(found)) is not None:
            yield fn


def _plain(found: Any) -> Any:
    """Return the Python function in `found` (a function, a compiled or a wrapped one), or None."""
    found = getattr(found, "py_func", found)
    try:
        found = inspect.unwrap(found) if callable(found) else None
    except ValueError:
        return None
    return found if isinstance(found, types.FunctionType) else None


def looks_at(flt: base.Filter) -> list[str]:
    """Return what of a sample a filter looks at: text, images (decoded), media (their sizes and kinds only), boxes, .."""
    columns = uses(flt).columns
    # Pictures have digests too: a sample's own counts only where nothing else is read.
    found = {"text" if c == "messages" else c for c in columns if c != "digest" or columns == {"digest"}}
    if flt.needs_images:
        found = (found - {"media"}) | {"images"}
    order = ["text", "images", "media", "boxes"]
    return sorted(found, key=lambda f: (order.index(f) if f in order else len(order), f))


def decontaminates(flt: base.Filter) -> bool:
    """Tell whether a filter looks for evaluation items: it names the one that it found."""
    return flt.build is not None and "match" in flt.scores


def does(flt: base.Filter) -> list[str]:
    """Return what a filter does besides scoring one sample: runs a model, pools, deduplicates, decontaminates, indexes."""
    facts = {
        "model": flt.needs_model,
        "pools": flt.pool,
        "deduplicates": flt.cluster,
        "decontaminates": decontaminates(flt),
        "indexes": flt.build is not None and not decontaminates(flt),  # a target set, to be like
    }
    return [name for name, yes in facts.items() if yes]
