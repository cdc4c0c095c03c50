"""The member tables of a mixture: `members/<component>.arrow`, one row per selected sample, sorted by id.

Columns are those of SAMPLE plus `tokens` (int32). `media.shard` is relative to the folder of the *store*, so that one table
may hold samples of several sources. Arrow IPC, uncompressed, `BATCH_ROWS` rows per batch: mapped into memory, read by row.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.errors import UserError
from catalog.files import atomic
from catalog.schema import SAMPLE

MEMBER = SAMPLE.append(pa.field("tokens", pa.int32()))
BATCH_ROWS = 16_384


def file_name(component: str) -> str:
    """Return where a component's members are, relative to the lock's folder."""
    return f"members/{component}.arrow"


def write(path: Path, table: pa.Table, by_id: npt.NDArray[np.int64]) -> None:
    """Write the rows of `table` in the order `by_id`, atomically; the same rows give the same bytes."""
    with atomic(path) as f, pa.ipc.new_file(f, MEMBER) as out:
        for at in range(0, len(by_id), BATCH_ROWS):
            rows = table.take(pa.array(by_id[at : at + BATCH_ROWS])).cast(MEMBER).combine_chunks()
            for batch in rows.to_batches():
                out.write_batch(batch)


class Members:
    """One member table, mapped into memory."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pa.ipc.open_file(pa.memory_map(str(path)))
            self._batches = [self._file.get_batch(i) for i in range(self._file.num_record_batches)]
        except FileNotFoundError:
            msg = f"member table `{path}` is missing"
            raise UserError(msg, hint="lock the mixture again: `cuvee mix lock`") from None
        except (pa.ArrowInvalid, OSError) as e:
            msg = f"member table `{path}` is damaged: {e}"
            raise UserError(msg, hint="remove the mixture's folder and lock it again") from None
        if not self._file.schema.equals(MEMBER):
            msg = f"`{path}` is not a member table of this version"
            raise UserError(msg, hint="lock the mixture again: `cuvee mix lock`")
        self._starts = np.cumsum([0] + [b.num_rows for b in self._batches])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the table batch by batch."""
        yield from self._batches

    def rows(self, index: Sequence[int] | npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return rows as dicts, in the order asked."""
        wanted = np.asarray(index, np.int64)
        where = np.searchsorted(self._starts, wanted, side="right") - 1
        out: list[dict[str, Any]] = [{}] * len(wanted)
        for b in np.unique(where):
            mine = np.flatnonzero(where == b)
            found = self._batches[b].take(pa.array(wanted[mine] - self._starts[b])).to_pylist()
            for at, row in zip(mine, found, strict=True):
                out[at] = row
        return out

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one whole column."""
        return pa.chunked_array([b.column(name) for b in self._batches], MEMBER.field(name).type)
