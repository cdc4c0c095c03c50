"""How things are shown on a terminal: tables and JSON to standard output, progress and remarks to standard error."""

import contextlib
import itertools
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Step = Callable[[str, int, int], None]
"""Called with (what is being done, done, total)."""


@contextlib.contextmanager
def bars() -> Iterator[Step]:
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


def _lines() -> Step:
    last: dict[str, int] = {}

    def step(label: str, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if last.get(label) != tenth or done == total:
            if last.get(label) is None or tenth == 10:
                say(f"{label}: {done:,}/{total:,}")
            last[label] = tenth

    return step


def say(text: str) -> None:
    """Print a line for people, to standard error."""
    print("\n".join(map(_harmless, text.split("\n"))), file=sys.stderr, flush=True)


def emit(value: Any) -> None:
    """Print JSON to standard output."""
    print(json.dumps(finite(value), indent=2, ensure_ascii=False, default=str, allow_nan=False))


def finite(value: Any) -> Any:
    """JSON has no NaN, and null means "does not apply": a score that could not be computed is the string "NaN"."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value).replace("nan", "NaN")
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list | tuple) else value


WIDTH = 110  # where standard output is no terminal
LEAST = 20  # of a column that is cut or wrapped


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    *,
    cut: Sequence[str] = (),
    wrap: Sequence[str] = (),
) -> None:
    """Print rows as an aligned table to standard output.

    The columns `cut` are cut short, and `wrap` broken into lines, so that a row fits into the terminal; elsewhere into 110
    characters, or as many as COLUMNS says.
    """
    if not rows:
        say("nothing there")
        return
    columns = list(columns or rows[0])
    cells = [[cell(r.get(c)) for c in columns] for r in rows]
    widths = [max(len(c), *(len(row[i]) for row in cells)) for i, c in enumerate(columns)]
    right = [all(isinstance(r.get(c), int | float | None) for r in rows) for c in columns]
    _shrink(widths, [i for i, c in enumerate(columns) if c in cut or c in wrap])
    for row in [list(columns), *cells]:
        parts = [
            textwrap.wrap(v, w, break_on_hyphens=False) or [""] if c in wrap else [short(v, w)]
            for c, v, w in zip(columns, row, widths, strict=True)
        ]
        for line in itertools.zip_longest(*parts, fillvalue=""):
            shown = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(line, widths, right, strict=True)]
            print("  ".join(shown).rstrip())


def _shrink(widths: list[int], flexible: Sequence[int]) -> None:
    """Give the `flexible` columns what the others leave of the line, those that need less no more than that."""
    room = shutil.get_terminal_size((WIDTH, 24)).columns - 2 * (len(widths) - 1)
    room -= sum(w for i, w in enumerate(widths) if i not in flexible)
    for left, i in zip(range(len(flexible), 0, -1), sorted(flexible, key=lambda i: widths[i]), strict=True):
        widths[i] = min(widths[i], max(room // left, LEAST))
        room -= widths[i]


def short(text: str, width: int) -> str:
    """Return a text cut to `width` characters."""
    return text if len(text) <= width else text[: width - 1].rstrip(" ;,") + "…"


def cell(value: Any) -> str:
    """Return a value as a table shows it: `-` for null, thousands with commas, no character that steers a terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _harmless(str(value))


def _harmless(text: str) -> str:
    """Text from data may carry control characters that steer a terminal."""
    return "".join(ch if ch.isprintable() else "\N{REPLACEMENT CHARACTER}" for ch in text)
