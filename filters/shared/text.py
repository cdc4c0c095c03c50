"""The texts of a batch as Arrow buffers, tokenised once and shared by all filters that look at words.

`assistant` text: the contents of a sample's assistant messages, joined by a newline: a caption, an answer, a worked
solution, the words of a document. Media marks (`<image>`) are blanked. Null where a sample has no assistant message.

A `Tokens` word is a maximal run of letters, digits and combining marks of the text after NFKC and lower-casing; each
ideograph, kana or Thai/Lao/Khmer/Burmese character, which no space separates, is a word of its own; format characters
(zero-width joiner, soft hyphen) are skipped; everything else separates words.
"""

import functools
import hashlib
import os
import unicodedata
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numba
import numba.extending
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Array = npt.NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

MARKS = r"<(?:image|video|audio|mesh)>"

LETTER, DIGIT, SPACE, ALONE, MARK, IGNORED = 1, 2, 4, 8, 16, 32
WORD = LETTER | DIGIT | MARK
_TABLE = 0x20000  # code points above: ideographs up to 0x3FFFF, nothing beyond


@functools.cache
def _kernels() -> str:
    """Return the folder of compiled kernels, named by the content of every file of `filters/`; "" where none can be written.

    numba itself watches only the file in which a kernel stands, but helpers and constants of other files are compiled into
    it: after an update of one of these it would go on with the old numbers.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(numba.config.CACHE_DIR or Path(cache) / "cuvee" / "kernels") / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder) if os.access(folder, os.W_OK) else ""
    except OSError:
        return ""


def _compiled(fn: F, **options: bool) -> F:
    before, folder = numba.config.CACHE_DIR, _kernels()
    numba.config.CACHE_DIR = folder
    try:
        return numba.njit(cache=bool(folder), nogil=True, error_model="numpy", **options)(fn)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = before


def kernel(fn: F) -> F:
    """Compile `fn` with numba, on disk where a cache folder can be written; one thread, no fast-math: same bits always."""
    return _compiled(fn)


def inlined(fn: F) -> F:
    """Compile a small helper into the kernels that call it: a call that hands over arrays costs more than such a helper does."""
    return _compiled(fn, forceinline=True)


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def borrowed(typing_context: Any, array: Any) -> Any:
    """Return the array without its reference count, for use inside one kernel while the original is alive.

    numba counts references, with atomic instructions, wherever a kernel hands an array to a helper: in a loop over words that
    is half of the time. The original must be a parameter of the kernel, or be used once more at its end.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        view.meminfo = view.meminfo.type(None)
        view.parent = view.parent.type(None)
        return view._getvalue()

    return array(array), code


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Strings as Arrow lays them out: text i is `data[offsets[i]:offsets[i+1]]`, UTF-8."""

    data: Array  # uint8
    offsets: Array  # int64
    valid: Array  # bool

    def __len__(self) -> int:
        return len(self.valid)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Words of texts: those of text i are `first[i]:first[i+1]`."""

    hashes: Array  # uint64, one per word
    lengths: Array  # int32, code points per word
    first: Array  # int64, one more than texts
    characters: Array  # int64, code points per text, normalised


# -- from a batch to texts ---------------------------------------------------------------------------------------------

_caches: dict[int, tuple["weakref.ref[Any]", dict[Any, Any]]] = {}


def cached(batch: pa.RecordBatch, key: Any, make: Callable[[], Any]) -> Any:
    """Return `make()`, computed once for as long as this very batch object lives."""
    entry = _caches.get(id(batch))
    if entry is None or entry[0]() is not batch:
        where = id(batch)
        entry = _caches[where] = (weakref.ref(batch, lambda _: _caches.pop(where, None)), {})
    values = entry[1]
    if key not in values:
        values[key] = make()
    return values[key]


def lengths(column: pa.ListArray) -> Array:
    """Return the number of items of every list; 0 for null."""
    return np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)


def starts(counts: Array) -> Array:
    """Return where each run of `counts` items begins, and the end of the last."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def has_media(batch: pa.RecordBatch) -> Array:
    """Return which samples have any medium."""
    return cached(batch, "has_media", lambda: lengths(batch.column("media")) > 0)  # type: ignore[no-any-return]


def has_image(batch: pa.RecordBatch) -> Array:
    """Return which samples have an image."""

    def make() -> Array:
        media = batch.column("media")
        image = np.asarray(pc.fill_null(pc.equal(media.flatten().field("kind"), "image"), False))
        total = starts(image)
        at = starts(lengths(media))
        return total[at[1:]] > total[at[:-1]]

    return cached(batch, "has_image", make)  # type: ignore[no-any-return]


def is_task(batch: pa.RecordBatch, *tasks: str) -> Array:
    """Return which samples are of one of `tasks`."""
    return np.asarray(pc.is_in(batch.column("task"), value_set=pa.array(tasks, pa.string())))


def _clean(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts.cast(pa.large_string()), MARKS, " ")


def messages(batch: pa.RecordBatch) -> tuple[pa.Array, Array, Array]:
    """Return the text of every message of the batch, which are the assistant's, and where each sample's begin."""

    def make() -> tuple[pa.Array, Array, Array]:
        column = batch.column("messages")
        flat = column.flatten()
        mine = np.asarray(pc.fill_null(pc.equal(flat.field("role"), "assistant"), False))
        return _clean(pc.fill_null(flat.field("content"), "")), mine, starts(lengths(column))

    return cached(batch, "messages", make)  # type: ignore[no-any-return]


def assistant(batch: pa.RecordBatch) -> pa.Array:
    """Return the assistant text of every sample (large_string)."""

    def make() -> pa.Array:
        texts, mine, first = messages(batch)
        count = np.diff(starts(mine)[first])
        lists = pa.LargeListArray.from_arrays(pa.array(starts(count)), texts.filter(pa.array(mine)))
        joined = pc.binary_join(lists, pa.scalar("\n", pa.large_string()))
        return pc.if_else(pa.array(count > 0), joined, pa.scalar(None, pa.large_string()))

    return cached(batch, "assistant", make)  # type: ignore[no-any-return]


def everything(batch: pa.RecordBatch) -> pa.Array:
    """Return all messages of every sample, joined by a newline (large_string); null without a message."""

    def make() -> pa.Array:
        texts, _, first = messages(batch)
        joined = pc.binary_join(
            pa.LargeListArray.from_arrays(pa.array(first), texts), pa.scalar("\n", pa.large_string())
        )
        return pc.if_else(pa.array(np.diff(first) > 0), joined, pa.scalar(None, pa.large_string()))

    return cached(batch, "everything", make)  # type: ignore[no-any-return]


def buffers(texts: pa.Array) -> Texts:
    """Return the offsets and bytes of a string array, without a copy where the array allows it."""
    valid = np.asarray(pc.is_valid(texts))
    texts = pc.fill_null(texts.cast(pa.large_string()), "")
    raw = texts.buffers()
    n = len(texts)
    if n == 0:
        return Texts(data=np.zeros(0, np.uint8), offsets=np.zeros(1, np.int64), valid=valid)
    offsets = np.frombuffer(raw[1], np.int64)[texts.offset : texts.offset + n + 1]
    size = int(offsets[-1])
    data = np.frombuffer(raw[2], np.uint8)[:size] if raw[2] is not None and size else np.zeros(0, np.uint8)
    return Texts(data=data, offsets=offsets, valid=valid)


def rebased(texts: pa.Array) -> pa.Array:
    """Return the texts with offsets that begin at 0: pyarrow 26's `ascii_lower` takes those of a slice that was cast for such."""
    raw = texts.buffers()[1]
    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    if not len(texts) or raw is None or np.frombuffer(raw, kind)[texts.offset] == 0:
        return texts
    return pa.concat_arrays([texts, pa.nulls(1, texts.type)])[:-1]


def normalised(texts: pa.Array) -> pa.Array:
    """Return the texts after NFKC and lower-casing; what NFKC leaves alone, as ASCII, goes a faster way."""
    texts = rebased(texts)
    lower = pc.ascii_lower(texts)
    plain = pc.fill_null(pc.string_is_ascii(texts), True)
    if pc.all(plain, min_count=0).as_py():
        return lower
    rest = np.flatnonzero(~np.asarray(plain))
    raw = buffers(texts.take(pa.array(rest)))
    other = np.zeros(len(texts), bool)
    other[rest] = _unsettled(raw.data, raw.offsets, _settled())
    if not other.any():
        return lower
    slow = texts.filter(pa.array(other))
    return pc.replace_with_mask(lower, pa.array(other), pc.utf8_lower(pc.utf8_normalize(slow, form="NFKC")))


# -- words -------------------------------------------------------------------------------------------------------------


@functools.cache
def classes() -> Array:
    """Return what every code point below 0x20000 is: bits LETTER, DIGIT, SPACE, ALONE, MARK, IGNORED."""
    table = np.zeros(_TABLE, np.uint8)
    bits = {"L": LETTER, "N": DIGIT, "M": MARK}
    for cp in range(_TABLE):
        char = chr(cp)
        category = unicodedata.category(char)
        if category == "Cf" or 0xFE00 <= cp <= 0xFE0F:
            table[cp] = IGNORED
        elif char.isspace():
            table[cp] = SPACE
        else:
            table[cp] = bits.get(category[0], 0)
    for low, high in (
        (0x0E00, 0x0EFF),
        (0x1000, 0x109F),
        (0x1780, 0x17FF),
        (0x3040, 0x30FF),
        (0x3400, 0x9FFF),
        (0xF900, 0xFAFF),
    ):
        part = table[low : high + 1]
        part[(part & LETTER) != 0] |= ALONE
    return table


@functools.cache
def _settled() -> Array:
    """Return which code points NFKC and lower-casing leave alone wherever they stand; ASCII counts, which `ascii_lower` does.

    Not those that join with what stands before them: marks, second halves of compositions, Hangul letters.
    """
    table = np.zeros(_TABLE, bool)
    halves = set()
    for cp in range(_TABLE):
        char = chr(cp)
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            halves.add(int(parts[1], 16))
        same = unicodedata.normalize("NFKC", char) == char == char.lower()
        assigned = unicodedata.category(char) not in ("Cn", "Cs")  # later versions of Unicode may know more
        table[cp] = same and assigned and not unicodedata.combining(char) and not 0x1100 <= cp < 0x1200
    table[sorted(cp for cp in halves if cp < _TABLE)] = False
    table[:0x80] = True
    return table


@inlined
def decode(data: Array, i: int, end: int) -> tuple[int, int]:
    """Return the code point at byte `i` and how many bytes it takes; broken UTF-8 gives (0xFFFD, 1)."""
    b = int(data[i])
    if b < 0x80:
        return b, 1
    if 0xC0 <= b < 0xE0 and i + 1 < end:
        return ((b & 0x1F) << 6) | (int(data[i + 1]) & 0x3F), 2
    if 0xE0 <= b < 0xF0 and i + 2 < end:
        return ((b & 0x0F) << 12) | ((int(data[i + 1]) & 0x3F) << 6) | (int(data[i + 2]) & 0x3F), 3
    if 0xF0 <= b < 0xF8 and i + 3 < end:
        high = ((b & 0x07) << 18) | ((int(data[i + 1]) & 0x3F) << 12)
        return high | ((int(data[i + 2]) & 0x3F) << 6) | (int(data[i + 3]) & 0x3F), 4
    return 0xFFFD, 1


@inlined
def class_of(table: Array, cp: int) -> int:
    """Return the class bits of a code point."""
    if cp < 0x20000:
        return int(table[cp])
    return 9 if cp < 0x40000 else 0


@kernel
def _unsettled(data: Array, offsets: Array, table: Array) -> Array:
    """Return which texts hold a code point that is not in the table."""
    data, table = borrowed(data), borrowed(table)
    out = np.zeros(len(offsets) - 1, np.bool_)
    for t in range(len(out)):
        i = offsets[t]
        while i < offsets[t + 1]:
            if data[i] < 0x80:
                i += 1
                continue
            cp, step = decode(data, i, offsets[t + 1])
            if cp >= len(table) or not table[cp]:
                out[t] = True
                break
            i += step
    return out


@inlined
def mix(h: np.uint64) -> np.uint64:
    """Return `h` with its bits spread (the finaliser of splitmix64)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@inlined
def extend(h: np.uint64, word: np.uint64) -> np.uint64:
    """Return the hash of a run of words with one more word at its end; begin with 0."""
    return mix(h * np.uint64(0x9E3779B97F4A7C15) + word + np.uint64(1))


@kernel
def _tokenise(data: Array, offsets: Array, table: Array) -> tuple[Array, Array, Array, Array]:
    data, table = borrowed(data), borrowed(table)
    n = len(offsets) - 1
    room = (offsets[n] - offsets[0] + n) // 2 + 1  # a word takes a byte and something that ends it
    hashes = np.empty(room, np.uint64)
    sizes = np.empty(room, np.int32)
    first = np.zeros(n + 1, np.int64)
    characters = np.zeros(n, np.int64)
    w = 0
    prime = np.uint64(0x100000001B3)
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        h = np.uint64(0xCBF29CE484222325)
        size = 0
        count = 0
        while i < end:
            cp, step = decode(data, i, end)
            kind = class_of(table, cp)
            count += 1
            if kind & 8:
                if size:
                    hashes[w] = mix(h)
                    sizes[w] = size
                    w += 1
                h = np.uint64(0xCBF29CE484222325)
                for k in range(step):
                    h = (h ^ np.uint64(data[i + k])) * prime
                hashes[w] = mix(h)
                sizes[w] = 1
                w += 1
                size = 0
                h = np.uint64(0xCBF29CE484222325)
            elif kind & 19:
                for k in range(step):
                    h = (h ^ np.uint64(data[i + k])) * prime
                size += 1
            elif kind & 32 == 0 and size:
                hashes[w] = mix(h)
                sizes[w] = size
                w += 1
                size = 0
                h = np.uint64(0xCBF29CE484222325)
            i += step
        if size:
            hashes[w] = mix(h)
            sizes[w] = size
            w += 1
        characters[t] = count
        first[t + 1] = w
    return hashes[:w].copy(), sizes[:w].copy(), first, characters


def tokenise(texts: pa.Array) -> Tokens:
    """Return the words of string texts, normalised; none for null."""
    raw = buffers(normalised(texts))
    hashes, sizes, first, characters = _tokenise(raw.data, raw.offsets, classes())
    return Tokens(hashes=hashes, lengths=sizes, first=first, characters=characters)


def assistant_tokens(batch: pa.RecordBatch) -> Tokens:
    """Return the words of the assistant texts, once per batch."""
    return cached(batch, "assistant_tokens", lambda: tokenise(assistant(batch)))  # type: ignore[no-any-return]


def message_tokens(batch: pa.RecordBatch) -> Tokens:
    """Return the words of every message, once per batch."""
    return cached(batch, "message_tokens", lambda: tokenise(messages(batch)[0]))  # type: ignore[no-any-return]


# -- from numbers to scores --------------------------------------------------------------------------------------------


def column(values: Array, applies: Array, kind: pa.DataType, digits: int | None = 6) -> pa.Array:
    """Return `values` as a score column, null where `applies` is false; floats are rounded to `digits` places (None: not)."""
    if pa.types.is_floating(kind) and digits is not None:
        values = np.round(np.asarray(values, np.float64), digits) + 0.0  # + 0.0: no negative zero
    return pa.array(values, mask=~np.asarray(applies, bool)).cast(kind)


def ratio(part: Array, whole: Array) -> Array:
    """Return `part / whole`, 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(len(whole), np.float64), where=np.asarray(whole) != 0)


def table(**columns: pa.Array) -> pa.RecordBatch:
    """Return a batch of the columns named."""
    return pa.record_batch(list(columns.values()), names=list(columns))
