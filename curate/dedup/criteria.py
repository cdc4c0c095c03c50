"""By what the survivor of a cluster is chosen: `prefer` of a deduplicating stage, criteria in their order, ties by id.

    prefer:
      - source: [checked, web]           # in this order; other sources last
      - license: [CC0-1.0, CC-BY-4.0]    # the same for licences
      - resolution                       # most pixels, all images of a sample together
      - length                           # longest text, all messages together, in characters
      - clip_score.clip_score            # highest score of another stage; null last

In rules, ledgers and cluster files a criterion has one name (`source: checked, web`, `resolution`, `clip_score.clip_score`)
and one number per sample: the higher the better, null last. A sample of a frozen source (`frozen`) comes before all others. Last
comes what a filter with a `cluster` of its own would keep (`order`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from catalog.errors import UserError, nearest
from catalog.judge import FROZEN as FROZEN

LISTED = ("source", "license")
ORDER = "order"  # what the filter itself puts first, where it has an opinion: SemDeDup keeps the hard, or the easy ones
OWN = ("resolution", "length")


def criterion(raw: Any, known: Mapping[str, Sequence[str]], scores: Sequence[str], where: str) -> str:
    """Return the name of a criterion as written in a recipe; raise `UserError` for one that does not exist.

    `known` has the values that may be listed, by kind; an empty list: any.
    """
    if isinstance(raw, str):
        if raw in OWN or raw in scores:
            return raw
        every = [*OWN, *(f"{k}: [...]" for k in LISTED), *scores]
        msg = f"no criterion named `{raw}` in {where}{nearest(raw, every)}"
        raise UserError(msg, hint=f"{', '.join(every[:4])} or a score of another stage", usage=True)
    if not isinstance(raw, dict) or len(raw) != 1 or next(iter(raw)) not in LISTED:
        msg = f"a criterion of {where} must be a name, or one of {', '.join(f'`{k}: [...]`' for k in LISTED)}; got `{raw}`"
        raise UserError(msg, usage=True)
    ((kind, listed),) = raw.items()
    if not isinstance(listed, list) or not listed or not all(isinstance(v, str) and "," not in v for v in listed):
        msg = f"`{kind}` of {where} must be a list of names, best first, got `{listed}`"
        raise UserError(msg, usage=True)
    for value in listed:
        if known.get(kind) and value not in known[kind]:
            msg = f"no {kind} named `{value}` in {where}{nearest(value, known[kind])}"
            raise UserError(msg, usage=True)
    return f"{kind}: {', '.join(listed)}"


def stages_of(names: Sequence[str]) -> set[str]:
    """Return the stages whose scores are among the criteria."""
    return {n.rpartition(".")[0] for n in names if n not in (*OWN, FROZEN, ORDER) and n.partition(":")[0] not in LISTED}


def names(prefer: Sequence[str], *, frozen: bool, order: bool) -> tuple[str, ...]:
    """Return all criteria of a stage in order, given what its recipe says."""
    return (*((FROZEN,) if frozen else ()), *prefer, *((ORDER,) if order else ()))
