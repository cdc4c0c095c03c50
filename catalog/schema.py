"""The tables that everything here is made of. Read this page first.

SAMPLE   one training item: what it says (`messages`), what it shows (`media`), what is written where (`boxes`)
SCORES   row-aligned with SAMPLE, one file per filter; columns are the filter's own (see `filters/base.py`)
VERDICT  one row per sample and bound: the ledger, the only place where a sample lives or dies
REJECT   what could not become a sample, and why
HEAD     which rows of which source shards were judged; KEPT: those that a dataset version holds
CLUSTER  which samples a deduplicating filter holds to be the same
"""

import pyarrow as pa

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
"""role: system | user | assistant. content carries `<image>`, `<video>`, `<audio>`, `<mesh>` marks in reading order,
one mark per entry of `media` of that kind, in the same order."""

MEDIUM = pa.struct(
    [
        ("kind", pa.string()),  # image | video | audio | mesh
        ("digest", pa.string()),  # sha256 of the stored bytes, 64 hex digits
        ("mime", pa.string()),  # what the bytes are, as sniffed, not as named
        ("width", pa.int32()),  # pixels; null where it does not apply
        ("height", pa.int32()),
        ("frames", pa.int32()),  # null for a still image
        ("duration", pa.float64()),  # seconds; null where it does not apply
        ("shard", pa.string()),  # tar holding the bytes, relative to the source version's folder
        ("offset", pa.int64()),  # first byte in that tar
        ("size", pa.int64()),  # bytes
    ]
)

BOX = pa.struct(
    [
        ("media", pa.int32()),  # index into `media`
        ("text", pa.string()),
        ("quad", pa.list_(pa.float32())),  # x1 y1 x2 y2 x3 y3 x4 y4 in pixels, clockwise from the top left
        ("confidence", pa.float32()),  # 0..1 of the OCR engine; null when a human drew it or it is not known
    ]
)

SAMPLE = pa.schema(
    [
        ("id", pa.string()),  # "<source>/<locator>", unique and stable within a source version
        ("digest", pa.string()),  # sha256 of the canonical content: equal content, equal digest
        ("source", pa.string()),
        ("task", pa.string()),
        ("license", pa.string()),  # SPDX expression or "unknown"
        ("messages", pa.list_(MESSAGE)),
        ("media", pa.list_(MEDIUM)),
        ("boxes", pa.list_(BOX)),
        ("meta", pa.string()),  # JSON object: whatever else the source said, kept verbatim
    ]
)

TASKS = (
    "caption", "vqa", "ocr", "document", "chart", "math", "reasoning", "text", "code", "generate", "edit", "other",
)  # fmt: skip

ROLES = ("system", "user", "assistant")

MARKS = {"image": "<image>", "video": "<video>", "audio": "<audio>", "mesh": "<mesh>"}

VERDICT = pa.schema(
    [
        ("id", pa.string()),
        ("stage", pa.string()),  # the filter's name
        ("fingerprint", pa.string()),  # of the filter with its parameters and models, not its bounds
        ("score", pa.string()),  # which of the filter's scores was judged
        ("value", pa.float64()),  # null: does not apply; NaN: could not be computed
        ("low", pa.float64()),  # null: no bound on this side
        ("high", pa.float64()),
        ("keep", pa.bool_()),
        ("match", pa.string()),  # the sample that this one duplicates, or the evaluation item that it leaks
    ]
)

REJECT = pa.schema(
    [
        ("source", pa.string()),
        ("locator", pa.string()),
        ("code", pa.string()),  # one of REJECT_CODES
        ("message", pa.string()),
    ]
)

REJECT_CODES = {
    "bad_json": "a line or member that is not a JSON object",
    "bad_utf8": "text that is not UTF-8",
    "bad_record": "a record without the fields that the field map names, or with values of the wrong kind",
    "bad_image": "bytes that no image decoder takes: truncated, not an image, or of a kind that is not allowed",
    "bomb": "an image with more pixels than the limit",
    "duplicate_key": "a key that stood earlier in the same file",
    "empty": "nothing in it: no text and no media",
    "missing_image": "an image that is named but not there",
    "mark_mismatch": "more or fewer <image> marks in the text than images",
    "truncated": "an archive or a file that ends in the middle",
    "unreadable": "a file that could not be opened or parsed at all",
    "unsafe_path": "a path that leaves its folder or archive",
}

HEAD = pa.schema(
    [
        ("id", pa.string()),
        ("digest", pa.string()),
        ("source", pa.string()),
        ("task", pa.string()),
        ("shard", pa.int32()),  # number of the source shard
        ("row", pa.int32()),  # row in that shard
    ]
)

KEPT = HEAD

CLUSTER = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.string()),  # smallest member id
        ("rank", pa.int32()),  # 0: the keeper
        ("similarity", pa.float64()),  # to the most preferred member, 0..1: the keeper, unless a bound dropped that one
        ("keeper", pa.string()),
        ("reason", pa.string()),  # by what the keeper was preferred: a criterion, or `id` where all are equal
    ]
)
