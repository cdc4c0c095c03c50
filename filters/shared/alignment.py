"""Whether one picture is a copy of another, by their perceptual signatures.

One thumbnail is laid over the other, moved and scaled by up to 9 % a side (Gauss-Newton on the correlation, from coarse to fine);
the darker one is brightened, up to white; then what they have in common is compared in detail, square by square, and in colour.
Charts, pages and drawings of one layout correlate; they differ in some square.
"""

import functools

import numpy as np

from filters.shared.hamming import popcount
from filters.shared.perceptual import CROPS, HASHES, SIDE, Signatures
from filters.shared.text import Array, inlined, kernel

# Under these a fit is not refined: of copies one in a thousand lies below.
COARSE, FIT = 0.5, 0.6
REACH = 0.09  # share of a side by which one picture may go beyond the other
STARTS = 2  # windows that are refined
COLOUR = 16.0  # mean difference of colour, of 255, above which two pictures are different
PATCH = 6  # points a side of the squares that are compared
# Laid over each other unmoved, copies match closely; cropped ones less, because they are compared between their points.
# (what a lack of correlation takes from the similarity; what the most different square does; the difference of colour of a cell
# above which two pictures are different, and what is added to it as a share of that colour)
WHOLE = (1.0, 1.0, 26.0, 0.1)
CROPPED = (0.8, 0.4, 45.0, 0.25)
MOVED = 0.03  # share of a side from which on a picture counts as cropped, if moving it explains half of the difference
BRIGHTER = 0.03, 9  # steps of gain that are tried, and how many
EXPLAINED = 0.02  # of the difference, what a gain may leave


def similarity(a: Signatures, b: Signatures, i: Array, j: Array, *, guided: bool = True) -> Array:
    """Return how well picture `i[k]` of `a` and `j[k]` of `b` match in detail, 0 to 1; 0 when their colours differ.

    The least of the correlation of what they have in common, and of what the square that differs most leaves of 1. Where one
    may have been turned (not `guided`), the hashes do not tell where to begin.
    """
    out = np.zeros(len(i))
    if len(i):
        ui, at_i = np.unique(i, return_inverse=True)
        uj, at_j = np.unique(j, return_inverse=True)
        _verify(
            np.ascontiguousarray(a.thumbs[ui]), np.ascontiguousarray(a.chroma[ui]), a.hashes[ui],
            np.ascontiguousarray(b.thumbs[uj]), np.ascontiguousarray(b.chroma[uj]), b.hashes[uj],
            at_i, at_j, _windows(), int(guided), out,
        )  # fmt: skip
    rounded: Array = np.round(np.clip(out, 0.0, 1.0), 5)
    return rounded


@functools.cache
def _windows() -> Array:
    """Return where to begin: b is a crop of a, or a is one of b."""
    crops = np.asarray(CROPS)
    size = crops[:, 2:] - crops[:, :2]
    return np.concatenate([crops, np.concatenate([-crops[:, :2] / size, (1 - crops[:, :2]) / size], 1)])


@kernel
def _verify(
    ta: Array, ca: Array, ha: Array, tb: Array, cb: Array, hb: Array, at_i: Array, at_j: Array, windows: Array,
    guided: int, out: Array,
) -> None:  # fmt: skip
    la, sa, fa, done_a = _layers(ta)
    lb, sb, fb, done_b = _layers(tb)
    window = np.empty(4)
    best = np.empty(4)
    score = np.empty(len(windows))
    for k in range(len(at_i)):
        i = at_i[k]
        j = at_j[k]
        if not _begin(la[i], lb[j], ha[i], hb[j], windows, guided, score):
            continue
        _finish(ta[i], la[i], sa[i], fa[i], done_a, i)
        _finish(tb[j], lb[j], sb[j], fb[j], done_b, j)
        fit = -1.0
        for _ in range(STARTS):
            start = np.argmax(score)
            if score[start] < COARSE:
                break
            window[:] = windows[start]
            found = _gauss(la[i], lb[j], window, score[start], 8)
            score[start] = -1.0
            if found < FIT:
                continue
            _gauss(sa[i], sb[j], window, _correlation(sa[i], sb[j], window), 5)
            found = _gauss(fa[i], fb[j], window, _correlation(fa[i], fb[j], window), 4)
            if found > fit:
                fit = found
                best[:] = window
            if fit > 0.9:
                break
        if fit < FIT:
            out[k] = max(fit, 0.0)
            continue
        window[:] = windows[0]
        moved = max(max(abs(best[0]), abs(best[1])), max(abs(1 - best[2]), abs(1 - best[3]))) / MOVED
        if 2 * (1 - fit) > 1 - _correlation(fa[i], fb[j], window):
            moved = 0.0
        moved = min(moved, 1.0)
        lack = WHOLE[0] + (CROPPED[0] - WHOLE[0]) * moved
        odd = WHOLE[1] + (CROPPED[1] - WHOLE[1]) * moved
        most = WHOLE[2] + (CROPPED[2] - WHOLE[2]) * moved
        if _colours(ca[i], cb[j], best, most, WHOLE[3] + (CROPPED[3] - WHOLE[3]) * moved):
            again, worst = _difference(ta[i], tb[j], best)
            out[k] = 1 - max(lack * (1 - max(fit, again)), odd * worst)


@kernel
def _layers(thumbs: Array) -> tuple[Array, Array, Array, Array]:
    """Return the coarse layer of all thumbnails, and room for the two finer ones, which few need."""
    n = len(thumbs)
    coarse = np.empty((n, SIDE // 2, SIDE // 2), np.float32)
    half = np.empty((SIDE // 2, SIDE // 2), np.float32)
    for k in range(n):
        for y in range(SIDE // 2):
            for x in range(SIDE // 2):
                one = np.float32(thumbs[k, 2 * y, 2 * x]) + np.float32(thumbs[k, 2 * y, 2 * x + 1])
                two = np.float32(thumbs[k, 2 * y + 1, 2 * x]) + np.float32(thumbs[k, 2 * y + 1, 2 * x + 1])
                half[y, x] = (one + two) * np.float32(0.25)
        _detail(half, 8, coarse[k])
    return coarse, np.empty_like(coarse), np.empty((n, SIDE, SIDE), np.float32), np.zeros(n, np.bool_)


@kernel
def _finish(thumb: Array, coarse: Array, middle: Array, fine: Array, done: Array, k: int) -> None:
    if done[k]:
        return
    done[k] = True
    _detail(thumb.astype(np.float32), 6, fine)
    for y in range(SIDE // 2):
        for x in range(SIDE // 2):
            s = fine[2 * y, 2 * x] + fine[2 * y, 2 * x + 1] + fine[2 * y + 1, 2 * x] + fine[2 * y + 1, 2 * x + 1]
            middle[y, x] = s * np.float32(0.25)


@kernel
def _detail(picture: Array, reach: int, out: Array) -> None:
    """Fill `out` with `picture` less its neighbourhood: what of the square of 2 * `reach` + 1 points lies within."""
    height, width = picture.shape
    sums = np.zeros((height + 1, width + 1))
    for y in range(height):
        s = 0.0
        for x in range(width):
            s += picture[y, x]
            sums[y + 1, x + 1] = sums[y, x + 1] + s
    for y in range(height):
        top = max(y - reach, 0)
        bottom = min(y + reach + 1, height)
        for x in range(width):
            left = max(x - reach, 0)
            right = min(x + reach + 1, width)
            s = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
            out[y, x] = picture[y, x] - s / ((bottom - top) * (right - left))


@kernel
def _begin(a: Array, b: Array, ha: Array, hb: Array, windows: Array, guided: int, score: Array) -> bool:
    """Fill `score` with the correlations at the windows worth trying; tell whether one is worth refining.

    The two crops whose hashes are closest, either way; all, where the hashes do not tell.
    """
    score[:] = -1.0
    best = -1.0
    for way in range(2):
        whole = hb[0] if way == 0 else ha[0]
        near_by = (1 << 30, 1 << 30)
        for c in range(HASHES):
            apart = popcount(whole ^ (ha[c] if way == 0 else hb[c])) * 16 + c
            if apart < near_by[0]:
                near_by = (apart, near_by[0])
            elif apart < near_by[1]:
                near_by = (near_by[0], apart)
        for c in range(way, HASHES):
            apart = popcount(whole ^ (ha[c] if way == 0 else hb[c])) * 16 + c
            first = apart == near_by[0] and apart < 21 * 16
            second = apart == near_by[1] and apart < 17 * 16
            if not guided or first or second:
                at = way * HASHES + c
                score[at] = _correlation(a, b, windows[at])
                best = max(best, score[at])
    return best >= COARSE


@inlined
def _inside(begin: float, end: float, n: int) -> tuple[int, int]:
    """Return which of `n` cells of one picture lie within the other, of which it is the window from `begin` to `end`."""
    size = end - begin
    first = int(np.ceil(-begin * n / size - 0.5))
    last = int(np.floor((1 - begin) * n / size - 0.5)) + 1
    return max(first, 0), min(last, n)


@inlined
def _place(i: int, begin: float, end: float, n: int) -> tuple[int, float]:
    """Return where cell `i` of the window lies: the cell before, and how far beyond it."""
    x = begin * n + (i + 0.5) * (end - begin) - 0.5
    x = min(max(x, 0.0), n - 1.001)
    return int(x), x - int(x)


@kernel
def _correlation(a: Array, b: Array, window: Array) -> float:
    """Correlation of `b` with the window of `a` (left, top, right, bottom: shares), where both are."""
    n = a.shape[0]
    top, bottom = _inside(window[1], window[3], n)
    left, right = _inside(window[0], window[2], n)
    su = sv = suu = svv = suv = 0.0
    for i in range(top, bottom):
        y, dy = _place(i, window[1], window[3], n)
        below = np.float32(dy)
        for j in range(left, right):
            x, dx = _place(j, window[0], window[2], n)
            beyond = np.float32(dx)
            one = a[y, x] + (a[y, x + 1] - a[y, x]) * beyond
            two = a[y + 1, x] + (a[y + 1, x + 1] - a[y + 1, x]) * beyond
            u = one + (two - one) * below
            v = b[i, j]
            su += u
            sv += v
            suu += u * u
            svv += v * v
            suv += u * v
    m = (bottom - top) * (right - left)
    uu = suu - su * su / m
    vv = svv - sv * sv / m
    if uu <= 1e-6 * m or vv <= 1e-6 * m:
        return 0.0
    return (suv - su * sv / m) / np.sqrt(uu * vv)  # type: ignore[no-any-return]


@kernel
def _gauss(a: Array, b: Array, window: Array, best: float, rounds: int) -> float:
    """Move the sides of `window` so that `a` within it correlates best with `b`; return the correlation.

    Gauss-Newton on gain, offset and the four sides.
    """
    n = a.shape[0]
    normal = np.empty((6, 7))
    old = np.empty(4)
    for _ in range(rounds):
        # Sums of products of u (gain), 1 (offset), c d e f (left, top, right, bottom) and v (what is to be met).
        uu = u1 = uc = ud = ue = uf = uv = c1 = d1 = e1 = f1 = v1 = 0.0
        cc = cd = ce = cf = cv = dd = de = df = dv = ee = ef = ev = ff = fv = 0.0
        top, bottom = _inside(window[1], window[3], n)
        left, right = _inside(window[0], window[2], n)
        for i in range(top, bottom):
            y, dy = _place(i, window[1], window[3], n)
            low = (i + 0.5) / n
            for j in range(left, right):
                x, dx = _place(j, window[0], window[2], n)
                p = a[y, x]
                q = a[y, x + 1]
                r = a[y + 1, x]
                s = a[y + 1, x + 1]
                far = (j + 0.5) / n
                gx = (q - p) * (1 - dy) + (s - r) * dy
                gy = (r - p) * (1 - dx) + (s - q) * dx
                u = (p * (1 - dx) + q * dx) * (1 - dy) + (r * (1 - dx) + s * dx) * dy
                v = b[i, j]
                c = gx * (1 - far)
                d = gy * (1 - low)
                e = gx * far
                f = gy * low
                uu += u * u
                u1 += u
                uc += u * c
                ud += u * d
                ue += u * e
                uf += u * f
                uv += u * v
                c1 += c
                d1 += d
                e1 += e
                f1 += f
                v1 += v
                cc += c * c
                cd += c * d
                ce += c * e
                cf += c * f
                cv += c * v
                dd += d * d
                de += d * e
                df += d * f
                dv += d * v
                ee += e * e
                ef += e * f
                ev += e * v
                ff += f * f
                fv += f * v
        held = 0.01 * uu + 1e-6  # what keeps a side where it is that nothing holds
        count = (bottom - top) * (right - left)
        normal[0, 0] = uu + 1e-6
        normal[0, 1] = u1
        normal[0, 2] = uc
        normal[0, 3] = ud
        normal[0, 4] = ue
        normal[0, 5] = uf
        normal[0, 6] = uv
        normal[1, 1] = count
        normal[1, 2] = c1
        normal[1, 3] = d1
        normal[1, 4] = e1
        normal[1, 5] = f1
        normal[1, 6] = v1
        normal[2, 2] = cc + held
        normal[2, 3] = cd
        normal[2, 4] = ce
        normal[2, 5] = cf
        normal[2, 6] = cv
        normal[3, 3] = dd + held
        normal[3, 4] = de
        normal[3, 5] = df
        normal[3, 6] = dv
        normal[4, 4] = ee + held
        normal[4, 5] = ef
        normal[4, 6] = ev
        normal[5, 5] = ff + held
        normal[5, 6] = fv
        gain = _solve(normal)
        if not gain > 0.1:
            break
        old[:] = window
        share = 1.0 / (gain * n)
        found = -1.0
        for _ in range(3):  # the whole step, or less of it
            moved = 0.0
            for k in range(4):
                middle = 0.0 if k < 2 else 1.0
                window[k] = min(max(old[k] + normal[2 + k, 6] * share, middle - REACH), middle + REACH)
                moved += abs(window[k] - old[k])
            found = _correlation(a, b, window)
            if found > best:
                break
            share *= 0.4
        if found <= best:
            window[:] = old
            break
        gained = found - best
        best = found
        if moved * n < 0.05 or gained < 2e-4:
            break
    return best


@inlined
def _solve(m: Array) -> float:
    """Solve the symmetric equations of which `m` is the upper half; the last column becomes the answer. Return the first."""
    n = m.shape[0]
    for k in range(n):
        for i in range(k):
            m[k, i] = m[i, k]
    for k in range(n):
        for i in range(k + 1, n):
            f = m[i, k] / m[k, k]
            for j in range(k, n + 1):
                m[i, j] -= f * m[k, j]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            m[k, n] -= m[k, j] * m[j, n]
        m[k, n] /= m[k, k]
    return m[0, n]  # type: ignore[no-any-return]


@kernel
def _colours(a: Array, b: Array, window: Array, most: float, share: float) -> bool:
    """Tell whether two pictures have the same colours, on the whole and in every cell that they have in common."""
    n = a.shape[1]
    top, bottom = _inside(window[1], window[3], n)
    left, right = _inside(window[0], window[2], n)
    total = 0.0
    for c in range(2):
        for i in range(top, bottom):
            y, dy = _place(i, window[1], window[3], n)
            for j in range(left, right):
                x, dx = _place(j, window[0], window[2], n)
                one = a[c, y, x] * (1 - dx) + a[c, y, x + 1] * dx
                two = a[c, y + 1, x] * (1 - dx) + a[c, y + 1, x + 1] * dx
                u = one * (1 - dy) + two * dy - 128
                v = np.float64(b[c, i, j]) - 128
                apart = abs(u - v)
                total += apart
                if apart > most + share * max(abs(u), abs(v)):
                    return False
    return total <= COLOUR * 2 * (bottom - top) * (right - left)


@kernel
def _difference(a: Array, b: Array, window: Array) -> tuple[float, float]:
    """Return the correlation after the darker one was brightened (0: neither was), and the share of difference in the
    square of the detail that differs most: 0 the same, 1 unrelated."""
    n = a.shape[0]
    top, bottom = _inside(window[1], window[3], n)
    left, right = _inside(window[0], window[2], n)
    one = np.empty((bottom - top, right - left), np.float32)
    two = np.empty((bottom - top, right - left), np.float32)
    for i in range(top, bottom):
        y, dy = _place(i, window[1], window[3], n)
        for j in range(left, right):
            x, dx = _place(j, window[0], window[2], n)
            upper = a[y, x] * (1 - dx) + a[y, x + 1] * dx
            lower = a[y + 1, x] * (1 - dx) + a[y + 1, x + 1] * dx
            one[i - top, j - left] = upper * (1 - dy) + lower * dy
            two[i - top, j - left] = b[i, j]
    gain = _light(one, two)
    u = np.empty_like(one)
    v = np.empty_like(two)
    _detail(one, 4, u)
    _detail(two, 4, v)
    height, width = u.shape
    mean = 0.0
    for i in range(height):
        for j in range(width):
            mean += u[i, j] * u[i, j] + v[i, j] * v[i, j]
    # Where there is little to be seen, half of what there is elsewhere counts, and one grey level of noise.
    least = (0.5 * mean / (height * width) + 2.0) * PATCH * PATCH
    worst = 0.0
    for y in range(0, height - PATCH + 1, PATCH // 2):
        for x in range(0, width - PATCH + 1, PATCH // 2):
            apart = 0.0
            there = 0.0
            for i in range(y, y + PATCH):
                for j in range(x, x + PATCH):
                    apart += (u[i, j] - v[i, j]) ** 2
                    there += u[i, j] * u[i, j] + v[i, j] * v[i, j]
            worst = max(worst, apart / (there + least))
    whole = np.array([0.0, 0.0, 1.0, 1.0])
    return (_correlation(u, v, whole) if gain > 1.0 else 0.0), worst


@kernel
def _light(a: Array, b: Array) -> float:
    """Brighten the darker one, up to white, as far as that explains how they differ; return the gain, 1 where it does not.

    A point that was all of one grey becomes `gain` times as bright; one of black print on white stays as it is. So a point may
    become anything between the two.
    """
    plain = _unlit(a, b, 1.0)
    for step in range(1, BRIGHTER[1] + 1):
        gain = 1 + BRIGHTER[0] * step
        for way in range(2):
            darker = a if way == 0 else b
            brighter = b if way == 0 else a
            if _unlit(darker, brighter, gain) <= EXPLAINED * plain:
                for i in range(a.shape[0]):
                    for j in range(a.shape[1]):
                        least = darker[i, j]
                        darker[i, j] = min(max(brighter[i, j], least), max(least, min(gain * least, 255.0)))
                return gain
    return 1.0


@kernel
def _unlit(a: Array, b: Array, gain: float) -> float:
    """Return the squares of what lies outside of what `gain` can make of `a`."""
    apart = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            u = a[i, j]
            v = b[i, j]
            if v < u:
                apart += (u - v) * (u - v)
            else:
                most = min(gain * u, 255.0)
                if v > most:
                    apart += (v - most) * (v - most)
    return apart
