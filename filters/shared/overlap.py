"""Words that two texts have in common."""

import numpy as np

from filters.shared.text import Array, kernel


@kernel
def common(a: Array, a_first: Array, b: Array, b_first: Array) -> Array:
    """Return per sample how many words `a` and `b` have in common, with their multiplicity."""
    out = np.zeros(len(a_first) - 1, np.int64)
    for t in range(len(out)):
        x = np.sort(a[a_first[t] : a_first[t + 1]])
        y = np.sort(b[b_first[t] : b_first[t + 1]])
        i = 0
        j = 0
        while i < len(x) and j < len(y):
            if x[i] == y[j]:
                out[t] += 1
                i += 1
                j += 1
            elif x[i] < y[j]:
                i += 1
            else:
                j += 1
    return out
