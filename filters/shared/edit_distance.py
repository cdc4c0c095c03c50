"""Edit distance between texts, in code points: insertions, deletions and substitutions (Levenshtein)."""

import numpy as np

from filters.shared.text import Array, decode, kernel


@kernel
def code_points(data: Array, begin: int, end: int) -> Array:
    """Return the code points of the UTF-8 bytes `data[begin:end]`."""
    out = np.empty(end - begin, np.int32)
    n = 0
    i = begin
    while i < end:
        cp, step = decode(data, i, end)
        out[n] = cp
        n += 1
        i += step
    return out[:n]


@kernel
def edit_distance(a: Array, b: Array) -> int:
    """Return the fewest single edits that turn `a` into `b`: one row of the table at a time."""
    if len(b) > len(a):
        a, b = b, a
    row = np.arange(len(b) + 1)
    for i in range(len(a)):
        corner = row[0]
        row[0] = i + 1
        for k in range(len(b)):
            best = corner if a[i] == b[k] else corner + 1
            best = min(best, row[k] + 1, row[k + 1] + 1)
            corner = row[k + 1]
            row[k + 1] = best
    return int(row[len(b)])
