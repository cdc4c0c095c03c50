"""One function per source that writes its records the way a user would have them, and the locator of every record."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.synth.defects import corrupted_line

ADDRESS = "https://pictures.example.org/"
ROWS = 250  # records of one Parquet file or tar


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record, finished but for its format."""

    fields: Mapping[str, Any]
    image: bytes | None = None
    extension: str = "jpg"
    corruption: str = ""


def locator(source: str, index: int) -> str:
    """Return where the record at `index` (from 0) of a source lies: `file:line`, counted from 1, or `tar/key`."""
    part, row = divmod(index, ROWS)
    return {
        "scenes": f"records.jsonl:{index + 1}",
        "questions": f"questions.json:{index + 1}",
        "charts": f"charts-{part:05d}.parquet:{row + 1}",
        "documents": f"documents-{part:05d}.tar/{index:06d}",
        "math": f"math.jsonl:{index + 1}",
        "math_images": f"records.parquet:{index + 1}",
        "text": f"text.jsonl:{index + 1}",
        "instructions": f"instructions.jsonl:{index + 1}",
    }[source]


def write(folder: Path, source: str, records: Sequence[Record]) -> None:
    """Write the records of one source into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if source == "questions":
        _conversations(folder, records)
    elif source == "charts":
        _charts(folder, records)
    elif source == "documents":
        _tars(folder, records)
    elif source == "math_images":
        names = _images(folder, "formula", records)
        rows = [{"image": n, **r.fields} for n, r in zip(names, records, strict=True)]
        pq.write_table(pa.Table.from_pylist(rows), folder / "records.parquet")
    elif source == "trusted":
        _trusted(folder, records)
    elif source == "scenes":
        names = _images(folder, "scene", records)
        rows = [{"image": n, **r.fields, "url": ADDRESS + n} for n, r in zip(names, records, strict=True)]
        _lines(folder / "records.jsonl", rows, records)
    else:
        _lines(folder / f"{source}.jsonl", [dict(r.fields) for r in records], records)


def _trusted(folder: Path, records: Sequence[Record]) -> None:
    """Write one line per picture and text."""
    names = _images(folder, "trusted", records)
    rows = [
        {"image": n, "caption": caption, "kind": r.fields["kind"], "url": ADDRESS + n}
        for n, r in zip(names, records, strict=True)
        for caption in r.fields["captions"]
    ]
    _lines(folder / "records.jsonl", rows, [Record(fields=row) for row in rows])


def _lines(path: Path, rows: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> None:
    with path.open("wb") as f:
        for row, r in zip(rows, records, strict=True):
            f.write(corrupted_line(json.dumps(row, ensure_ascii=False).encode(), r.corruption) + b"\n")


def _images(folder: Path, stem: str, records: Sequence[Record]) -> list[str]:
    """Write the pictures and return their paths below `folder`."""
    (folder / "images").mkdir(exist_ok=True)
    names = []
    for i, r in enumerate(records):
        names.append(f"images/{stem}-{i:06d}.{r.extension}")
        (folder / names[-1]).write_bytes(r.image or b"")
    return names


def _conversations(folder: Path, records: Sequence[Record]) -> None:
    names = _images(folder, "question", records)
    rows = [
        {
            "id": f"question-{i:06d}",
            "image": name.removeprefix("images/"),
            "conversations": [
                {"from": "human", "value": f"<image>\n{r.fields['question']}"},
                {"from": "gpt", "value": r.fields["answer"]},
            ],
        }
        for i, (name, r) in enumerate(zip(names, records, strict=True))
    ]
    (folder / "questions.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _charts(folder: Path, records: Sequence[Record]) -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("question", pa.string()), ("answer", pa.string()), ("title", pa.string())])
    for part in range(0, len(records), ROWS):
        rows = [
            {"image": {"bytes": r.image, "path": f"chart-{part + i:06d}.{r.extension}"}, **r.fields}
            for i, r in enumerate(records[part : part + ROWS])
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"charts-{part // ROWS:05d}.parquet")


def _tars(folder: Path, records: Sequence[Record]) -> None:
    for part in range(0, len(records), ROWS):
        with tarfile.open(folder / f"documents-{part // ROWS:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, r in enumerate(records[part : part + ROWS], part):
                add(tar, f"{i:06d}.{r.extension}", r.image or b"")
                text = json.dumps(dict(r.fields), ensure_ascii=False).encode()
                add(tar, f"{i:06d}.json", corrupted_line(text, r.corruption))


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a member that is the same whoever writes it and whenever."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
