"""The loops over bytes. Text i is `data[offsets[i]:offsets[i + 1]]`, UTF-8, as Arrow lays it out; a place is a byte in `data`."""

from typing import Any

import numba.extending
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]  # comes with numba
from numba import types

from filters.shared.text import Array, borrowed, inlined, kernel, mix

SNAP = 64  # a cut ends at the start of a word where one stands within so many bytes
PRIME = (1 << 61) - 1  # of the two window hashes
BASES = (1_738_204_771_539_286_411, 2_047_611_393_458_720_957)  # below PRIME, without further meaning
GRAM = 0x9E3779B97F4A7C15  # odd: the base of the hash modulo 2**64 that only picks candidates
LINE, PARAGRAPH, SUBSTRING, SPACE = 0, 1, 2, 3


@inlined
def is_space(b: int) -> bool:
    """Tell whether a byte is ASCII white space."""
    return b == 32 or 9 <= b <= 13


@inlined
def mark_at(data: Array, i: int, end: int) -> int:
    """Return the length of the media mark that begins at byte `i`, or 0."""
    if data[i] != 60 or i + 6 > end:  # <
        return 0
    if data[i + 5] == 62:  # <mesh>
        if data[i + 1] == 109 and data[i + 2] == 101 and data[i + 3] == 115 and data[i + 4] == 104:
            return 6
        return 0
    if i + 7 > end or data[i + 6] != 62:
        return 0
    a, b, c, d, e = data[i + 1], data[i + 2], data[i + 3], data[i + 4], data[i + 5]
    if a == 105 and b == 109 and c == 97 and d == 103 and e == 101:  # <image>
        return 7
    if a == 118 and b == 105 and c == 100 and d == 101 and e == 111:  # <video>
        return 7
    if a == 97 and b == 117 and c == 100 and d == 105 and e == 111:  # <audio>
        return 7
    return 0


@kernel
def between_marks(data: Array, offsets: Array) -> tuple[Array, Array]:
    """Return where the pieces of the texts between media marks begin and end."""
    data, offsets = borrowed(data), borrowed(offsets)
    n = len(offsets) - 1
    room = n
    for t in range(n):
        i = offsets[t]
        while i < offsets[t + 1]:
            size = mark_at(data, i, offsets[t + 1])
            room += size > 0
            i += max(size, 1)
    low = np.empty(room, np.int64)
    high = np.empty(room, np.int64)
    w = 0
    for t in range(n):
        i = offsets[t]
        low[w] = i
        while i < offsets[t + 1]:
            size = mark_at(data, i, offsets[t + 1])
            if size:
                high[w] = i
                w += 1
                low[w] = i + size
                i += size
            else:
                i += 1
        high[w] = offsets[t + 1]
        w += 1
    return low, high


# -- substrings --------------------------------------------------------------------------------------------------------


@kernel
def winnow(data: Array, low: Array, high: Array, size: int, gram: int) -> tuple[Array, Array, Array, Array]:
    """Return the picks of the pieces: hash of the gram, its place, and from which window to which it is the pick.

    A window is `size` bytes; its pick is the gram with the smallest hash in it, the last of equals (Schleimer et al. 2003):
    it follows from the window's bytes alone.
    """
    data, low, high = borrowed(data), borrowed(low), borrowed(high)
    width = size - gram + 1
    room = 0
    for s in range(len(low)):
        room += max(0, high[s] - low[s] - size + 1)
    keys = np.empty(room, np.uint64)  # for the worst: pages that are never touched cost nothing
    places = np.empty(room, np.int64)
    since = np.empty(room, np.int64)
    until = np.empty(room, np.int64)
    longest = 0
    for s in range(len(low)):
        longest = max(longest, high[s] - low[s])
    hashes = np.empty(max(0, longest - gram + 1), np.uint64)
    base = np.uint64(GRAM)
    top = np.uint64(1)
    for _ in range(gram - 1):
        top *= base
    w = 0
    for s in range(len(low)):
        begin, end = low[s], high[s]
        if end - begin < size:
            continue
        h = np.uint64(0)
        for i in range(begin, begin + gram - 1):
            h = h * base + np.uint64(data[i])
        for j in range(begin, end - gram + 1):
            h = h * base + np.uint64(data[j + gram - 1])
            hashes[j - begin] = mix(h)
            h -= np.uint64(data[j]) * top
        at = -1  # of the pick, counted from `begin`
        last = -1
        for p in range(end - begin - size + 1):
            new = p + width - 1
            if at < p:  # the pick has left the window: about once in half a window
                at = p
                for k in range(p + 1, new + 1):
                    if hashes[k] <= hashes[at]:
                        at = k
            elif hashes[new] <= hashes[at]:
                at = new
            if at != last:
                last = at
                keys[w] = mix(hashes[at])  # smallest hashes crowd at 0; keys are cut into parts by range
                places[w] = begin + at
                since[w] = begin + p
                if p:
                    until[w - 1] = begin + p
                w += 1
        until[w - 1] = end - size + 1
    return keys[:w].copy(), places[:w].copy(), since[:w].copy(), until[:w].copy()


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def high_half(typing_context: Any, a: Any, b: Any) -> Any:
    """Return the upper 64 bits of the product of two uint64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), code


@inlined
def times(a: np.uint64, b: np.uint64) -> np.uint64:
    """Return `a * b` modulo PRIME, for factors below it."""
    low = a * b
    r: np.uint64 = (low & np.uint64(PRIME)) + ((low >> np.uint64(61)) | (high_half(a, b) << np.uint64(3)))
    return r - np.uint64(PRIME) if r >= np.uint64(PRIME) else r


@inlined
def plus(a: np.uint64, b: np.uint64) -> np.uint64:
    """Return `a + b` modulo PRIME, for terms up to it."""
    r = a + b
    return r - np.uint64(PRIME) if r >= np.uint64(PRIME) else r


@kernel
def window_keys(data: Array, since: Array, until: Array, size: int) -> tuple[Array, Array, Array]:
    """Return the place and the two hashes of every window that begins in `since[i]:until[i]`.

    Polynomials modulo 2**61 - 1 in two bases: two windows that differ agree in both with a chance below (size / 2**61)**2.
    """
    data, since, until = borrowed(data), borrowed(since), borrowed(until)
    total = 0
    for i in range(len(since)):
        total += until[i] - since[i]
    places = np.empty(total, np.int64)
    one = np.empty(total, np.uint64)
    two = np.empty(total, np.uint64)
    prime, a, b = np.uint64(PRIME), np.uint64(BASES[0]), np.uint64(BASES[1])
    top_a, top_b = np.uint64(1), np.uint64(1)
    for _ in range(size - 1):
        top_a, top_b = times(top_a, a), times(top_b, b)
    gone_a = np.empty(256, np.uint64)  # what a byte that leaves the window takes away, as something to add
    gone_b = np.empty(256, np.uint64)
    for v in range(256):
        gone_a[v] = prime - times(np.uint64(v + 1), top_a)
        gone_b[v] = prime - times(np.uint64(v + 1), top_b)
    w = 0
    for i in range(len(since)):
        x, y = np.uint64(0), np.uint64(0)
        for p in range(since[i], until[i]):
            if p == since[i]:
                for k in range(size):
                    c = np.uint64(data[p + k]) + np.uint64(1)
                    x, y = plus(times(x, a), c), plus(times(y, b), c)
            else:
                c = np.uint64(data[p + size - 1]) + np.uint64(1)
                out = data[p - 1]
                x = plus(times(plus(x, gone_a[out]), a), c)
                y = plus(times(plus(y, gone_b[out]), b), c)
            places[w] = p
            one[w] = mix(x)
            two[w] = y
            w += 1
    return places, one, two


@kernel
def runs(
    places: Array, text: Array, offsets: Array, base: Array, bar: Array, kept: Array, count: Array, size: int
) -> tuple[Array, Array, Array, Array, Array]:
    """Return text, start, end, kept address and count of the stretches that repeat an earlier stretch byte by byte.

    `base` is the address of every text's first byte; `kept` that of a window's first occurrence, which counts if it lies before
    `bar` of the text; `count` is 0 where the window stands nowhere else. A `bar` of -1: any occurrence counts, unless it overlaps
    the window itself and would go with it.
    """
    places, text, offsets, base = borrowed(places), borrowed(text), borrowed(offsets), borrowed(base)
    bar, kept, count = borrowed(bar), borrowed(kept), borrowed(count)
    n = len(places)
    out_text = np.empty(n, np.int64)
    start = np.empty(n, np.int64)
    end = np.empty(n, np.int64)
    where = np.empty(n, np.int64)
    often = np.empty(n, np.int64)
    w = 0
    for i in range(n):
        t = text[i]
        own = base[t] + places[i] - offsets[t]
        if not count[i] or (bar[t] >= 0 and kept[i] >= bar[t]) or (kept[i] >= base[t] and kept[i] + size > own):
            continue
        follows = w > 0 and out_text[w - 1] == t and end[w - 1] - size + 1 == places[i]
        if follows and kept[i] - where[w - 1] == places[i] - start[w - 1]:
            end[w - 1] += 1
            often[w - 1] = min(often[w - 1], count[i])
            continue
        # A stretch that goes on somewhere else begins where the one before ends: no byte goes twice.
        over = max(0, end[w - 1] - places[i]) if w and out_text[w - 1] == t else 0
        out_text[w], start[w], end[w] = t, places[i] + over, places[i] + size
        where[w], often[w] = kept[i] + over, count[i]
        w += 1
    return out_text[:w].copy(), start[:w].copy(), end[:w].copy(), where[:w].copy(), often[:w].copy()


# -- lines and paragraphs ----------------------------------------------------------------------------------------------


@kernel
def units(data: Array, offsets: Array, paragraphs: bool) -> tuple[Array, Array, Array]:  # noqa: FBT001
    """Return where the lines (or paragraphs) of the texts begin, of which text each is, and whether it is free of marks.

    Together they are the texts: a line ends after its newline, a paragraph after the blank lines that follow it.
    """
    data, offsets = borrowed(data), borrowed(offsets)
    n = len(offsets) - 1
    room = n
    for i in range(offsets[0], offsets[n]):
        room += data[i] == 10
    start = np.empty(room, np.int64)
    text = np.empty(room, np.int64)
    free = np.empty(room, np.bool_)
    w = 0
    for t in range(n):
        i = offsets[t]
        stop = offsets[t + 1]
        blank_before = False
        words_before = False  # whether the paragraph so far has a line that is not blank
        fresh = True
        while i < stop:
            blank = True
            free_line = True
            k = i
            while k < stop:
                b = data[k]
                if b == 10:
                    k += 1
                    break
                if not is_space(b):
                    blank = False
                    if b == 60 and mark_at(data, k, stop):
                        free_line = False
                k += 1
            if fresh or not paragraphs or (blank_before and words_before and not blank):
                start[w], text[w], free[w] = i, t, free_line
                w += 1
                fresh = False
                words_before = not blank
            else:
                free[w - 1] &= free_line
                words_before |= not blank
            blank_before = blank
            i = k
    return start[:w].copy(), text[:w].copy(), free[:w].copy()


@kernel
def squeeze(data: Array, offsets: Array) -> tuple[Array, Array]:
    """Return the texts with white space at both ends taken off and every other run of it made one space."""
    data, offsets = borrowed(data), borrowed(offsets)
    n = len(offsets) - 1
    out = np.empty(offsets[n] - offsets[0], np.uint8)
    ends = np.zeros(n + 1, np.int64)
    w = 0
    for t in range(n):
        gap = False
        began = w
        for i in range(offsets[t], offsets[t + 1]):
            if is_space(data[i]):
                gap = w > began
                continue
            if gap:
                out[w] = 32
                w += 1
                gap = False
            out[w] = data[i]
            w += 1
        ends[t + 1] = w
    return out[:w].copy(), ends


@kernel
def text_keys(data: Array, offsets: Array) -> tuple[Array, Array]:
    """Return two hashes of every text."""
    data, offsets = borrowed(data), borrowed(offsets)
    n = len(offsets) - 1
    one = np.empty(n, np.uint64)
    two = np.empty(n, np.uint64)
    for t in range(n):
        x, y = np.uint64(0xCBF29CE484222325), np.uint64(0x2545F4914F6CDD1D)
        for i in range(offsets[t], offsets[t + 1]):
            c = np.uint64(data[i]) + np.uint64(1)
            x = (x ^ c) * np.uint64(0x100000001B3)
            y = (y + c) * np.uint64(0xD1342543DE82EF95)
            y ^= y >> np.uint64(29)
        one[t], two[t] = mix(x), mix(y)
    return one, two


# -- cuts --------------------------------------------------------------------------------------------------------------


@kernel
def settle(
    data: Array, offsets: Array, text: Array, start: Array, end: Array, kind: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the cuts made disjoint and put at the starts of words: number of the row that each is of, text, start, end.

    Rows come sorted by text, start and falling end. Row -1 is white space that would be left at an end of its text.
    """
    data, offsets = borrowed(data), borrowed(offsets)
    text, start, end, kind = borrowed(text), borrowed(start), borrowed(end), borrowed(kind)
    n = len(text)
    row = np.empty(3 * n, np.int64)
    of = np.empty(3 * n, np.int64)
    low = np.empty(3 * n, np.int64)
    high = np.empty(3 * n, np.int64)
    w = 0
    i = 0
    front = np.int64(-1)  # all before it is cut from the text
    while i < n:
        # A stretch of rows that touch or overlap.
        t = text[i]
        first, last = offsets[t], offsets[t + 1]
        if i == 0 or text[i - 1] != t:
            front = first
        reach = end[i]
        whole_low, whole_high = last, first  # from the first line or paragraph in it to the last
        j = i
        while j < n and text[j] == t and start[j] <= reach:
            reach = max(reach, end[j])
            if kind[j] != SUBSTRING:
                whole_low, whole_high = min(whole_low, start[j]), max(whole_high, end[j])
            j += 1
        a, b = start[i], reach
        a = min(_forward(data, a, first, b), max(whole_low, a))
        b = max(_back(data, b, last, a), whole_high)
        if a < b:
            if b == last:
                k = a
                while k > first and is_space(data[k - 1]) and (w == 0 or of[w - 1] != t or high[w - 1] < k):
                    k -= 1
                if k < a:
                    row[w], of[w], low[w], high[w] = -1, t, k, a
                    w += 1
            at = a
            for r in range(i, j):
                x, y = max(start[r], at), min(end[r], b)
                if x < y:
                    row[w], of[w], low[w], high[w] = r, t, x, y
                    w += 1
                    at = y
            if a == front:
                front = b
                while front < last and is_space(data[front]) and not (j < n and text[j] == t and start[j] <= front):
                    front += 1
                if front > b:
                    row[w], of[w], low[w], high[w] = -1, t, b, front
                    w += 1
        i = j
    return row[:w].copy(), of[:w].copy(), low[:w].copy(), high[:w].copy()


@inlined
def _forward(data: Array, a: int, first: int, b: int) -> int:
    """Return the next place from `a` on where a cut may begin."""
    for k in range(a, min(a + SNAP, b) + 1):
        if k == first or (k < b and is_space(data[k - 1]) and not is_space(data[k])):
            return k
    while a < b and data[a] & 0xC0 == 0x80:
        a += 1
    return a


@inlined
def _back(data: Array, b: int, last: int, a: int) -> int:
    """Return the place at or before `b` where a cut may end."""
    if b == last:
        return b
    for k in range(b, max(b - SNAP, a), -1):
        if is_space(data[k - 1]) and not is_space(data[k]):
            return k
    while b > a and data[b] & 0xC0 == 0x80:
        b -= 1
    return b


@kernel
def remains(data: Array, offsets: Array, text: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """Return how many bytes other than white space every text had, and how many are left after its (disjoint) cuts."""
    data, offsets = borrowed(data), borrowed(offsets)
    n = len(offsets) - 1
    had = np.zeros(n, np.int64)
    for t in range(n):
        for i in range(offsets[t], offsets[t + 1]):
            had[t] += not is_space(data[i])
    left = had.copy()
    for r in range(len(text)):
        for i in range(start[r], end[r]):
            left[text[r]] -= not is_space(data[i])
    return had, left


@kernel
def without(data: Array, offsets: Array, text: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """Return the texts without their cuts (sorted, disjoint)."""
    data, offsets = borrowed(data), borrowed(offsets)
    n = len(offsets) - 1
    out = np.empty(offsets[n] - offsets[0], np.uint8)
    ends = np.zeros(n + 1, np.int64)
    w = 0
    r = 0
    for t in range(n):
        i = offsets[t]
        while i < offsets[t + 1]:
            if r < len(text) and text[r] == t and start[r] == i:
                i = end[r]
                r += 1
                continue
            out[w] = data[i]
            w += 1
            i += 1
        ends[t + 1] = w
    return out[:w].copy(), ends


@kernel
def slices(data: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """Return the stretches of `data` one after the other, and where each begins."""
    data = borrowed(data)
    n = len(start)
    begins = np.zeros(n + 1, np.int64)
    for r in range(n):
        begins[r + 1] = begins[r] + end[r] - start[r]
    out = np.empty(begins[n], np.uint8)
    for r in range(n):
        for i in range(end[r] - start[r]):
            out[begins[r] + i] = data[start[r] + i]
    return out, begins


# -- sorted runs -------------------------------------------------------------------------------------------------------


@kernel
def order_of(keys: Array) -> Array:
    """Return the stable order of hashes: cut into buckets of a few by their first bits, each sorted by insertion.

    Return nothing where a bucket is large and holds more than one key: then it is no matter of few.
    """
    n = len(keys)
    bits = 1
    while bits < 22 and (4 << bits) < n:
        bits += 1
    shift = np.uint64(64 - bits)
    first = np.zeros((1 << bits) + 1, np.int64)
    for i in range(n):
        first[(keys[i] >> shift) + np.uint64(1)] += 1
    for b in range(1 << bits):
        first[b + 1] += first[b]
    fill = first[:-1].copy()
    out = np.empty(n, np.int64)
    near = np.empty(n, np.uint64)  # the keys of a bucket, beside each other
    for i in range(n):
        b = keys[i] >> shift
        out[fill[b]], near[fill[b]] = i, keys[i]
        fill[b] += 1
    for b in range(1 << bits):
        low, high = first[b], first[b + 1]
        if high - low > 64:
            for i in range(low + 1, high):
                if near[i] != near[low]:
                    return out[:0]
            continue
        for i in range(low + 1, high):
            row, key = out[i], near[i]
            k = i
            while k > low and near[k - 1] > key:
                out[k], near[k] = out[k - 1], near[k - 1]
                k -= 1
            out[k], near[k] = row, key
    return out


@kernel
def fold(one: Array, two: Array, first: Array, count: Array) -> int:
    """Fold rows with the same two hashes into one with the smallest address and the sum of counts, in place; return how many.

    Rows come sorted by the first hash and leave sorted by both. Two keys that share the first hash alone are rare.
    """
    n = len(one)
    w = 0
    i = 0
    while i < n:
        j = i + 1
        same = True
        while j < n and one[j] == one[i]:
            same &= two[j] == two[i]
            j += 1
        if same:
            a, c = first[i], count[i]
            for k in range(i + 1, j):
                a = min(a, first[k])
                c += count[k]
            one[w], two[w], first[w], count[w] = one[i], two[i], a, c
            w += 1
        else:
            for k in range(i + 1, j):  # few: by insertion
                b, f, c = two[k], first[k], count[k]
                m = k
                while m > i and two[m - 1] > b:
                    two[m], first[m], count[m] = two[m - 1], first[m - 1], count[m - 1]
                    m -= 1
                two[m], first[m], count[m] = b, f, c
            key, two_before = one[i], two[i]
            for k in range(i, j):
                if k > i and two[k] == two_before:
                    first[w - 1] = min(first[w - 1], first[k])
                    count[w - 1] += count[k]
                else:
                    one[w], two[w], first[w], count[w] = key, two[k], first[k], count[k]
                    w += 1
                two_before = two[w - 1]
        i = j
    return w


@kernel
def tally(one: Array, two: Array, first: Array, whom: Array, count: Array) -> int:
    """Fold rows as `fold` does, and count how many different `whom` each key has; rows come sorted by first hash and address."""
    n = len(one)
    w = 0
    i = 0
    while i < n:
        j = i + 1
        same = True
        while j < n and one[j] == one[i]:
            same &= two[j] == two[i]
            j += 1
        if not same:
            for k in range(i + 1, j):  # few: by insertion
                b, f, last = two[k], first[k], whom[k]
                m = k
                while m > i and two[m - 1] > b:
                    two[m], first[m], whom[m] = two[m - 1], first[m - 1], whom[m - 1]
                    m -= 1
                two[m], first[m], whom[m] = b, f, last
        key, b, f, last, c = one[i], two[i], first[i], whom[i], 1
        for k in range(i + 1, j):
            if two[k] != b:
                one[w], two[w], first[w], count[w] = key, b, f, c
                w += 1
                b, f, last, c = two[k], first[k], whom[k], 1
            elif whom[k] != last:
                last = whom[k]
                c += 1
        one[w], two[w], first[w], count[w] = key, b, f, c
        w += 1
        i = j
    return w


@kernel
def look_up(
    one: Array, two: Array, at: Array, keys: Array, others: Array, first: Array, count: Array
) -> tuple[Array, Array]:
    """Return first address and count of every key of a table, 0 where it is not in it; `at` is where its first hash may begin."""
    n = len(one)
    out_first = np.zeros(n, np.int64)
    out_count = np.zeros(n, np.int64)
    for i in range(n):
        k = at[i]
        while k < len(keys) and keys[k] == one[i]:
            if others[k] == two[i]:
                out_first[i], out_count[i] = first[k], count[k]
                break
            k += 1
    return out_first, out_count
