"""What every generator returns: what a record says, and how its picture is drawn."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Item:
    """One clean sample before it is written in some format."""

    fields: Mapping[str, Any]  # the record's own fields, without the picture
    text: str = ""  # what the record says in one plain line, as a caption of its picture
    draw: Callable[[], Image.Image] | None = None  # None: text only
    extension: str = "jpg"
    retell: Callable[[random.Random], str] | None = None  # something else that is true of the same picture
    label: str = ""  # what sort of picture it is
    colors: frozenset[str] = frozenset()  # of the objects in a scene: tells scenes that have nothing in common


def stream(*parts: object) -> random.Random:
    """Return the random stream that these parts name: the same parts, the same stream, in any process."""
    return random.Random("/".join(map(str, parts)))
