"""Engines are found by the names of their files."""

import importlib
import pkgutil

from catalog.errors import UserError, nearest
from curate.engines.base import Engine

_NOT_ENGINES = ("base", "choose")


def names() -> list[str]:
    """Return the names of all engines: the files of this folder but this one and the protocol."""
    from curate import engines

    found = (m.name for m in pkgutil.iter_modules(engines.__path__))
    return sorted(name for name in found if name not in _NOT_ENGINES and not name.startswith("_"))


def choose(name: str, *, workers: int | None, address: str | None) -> Engine:
    """Return the engine `name`; raise `UserError` when there is none, or when what it needs is missing."""
    if name not in names():
        msg = f"no engine named `{name}`{nearest(name, names())}"
        raise UserError(msg, usage=True)
    if workers is not None and workers < 1:
        msg = f"`workers` must be at least 1, got {workers}"
        raise UserError(msg, usage=True)
    engine: Engine = importlib.import_module(f"curate.engines.{name}").start(workers=workers, address=address)
    return engine
