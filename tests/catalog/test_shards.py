import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UserError
from catalog.shards import MediaReader, TarWriter, read_table, shard_name, write_table


def _tar(members: list[tuple[str, bytes]]) -> tuple[bytes, list[tuple[int, int]]]:
    out = io.BytesIO()
    tar = TarWriter(out)
    places = [tar.add(*m) for m in members]
    tar.close()
    return out.getvalue(), places


@given(st.lists(st.binary(max_size=2000), max_size=6))
def test_tars_are_plain_and_read_by_offset(data: list[bytes]) -> None:
    members = [(f"{i:05d}.0.bin", d) for i, d in enumerate(data)]
    raw, places = _tar(members)
    assert len(raw) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        read = [(m.name, tar.extractfile(m).read(), m.offset_data, m.size) for m in tar]  # type: ignore[union-attr]
    assert read == [(n, d, *p) for (n, d), p in zip(members, places, strict=True)]
    assert _tar(members)[0] == raw


def test_webdataset_reads_them(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    raw, _ = _tar([("00000-0.0.jpg", b"a"), ("00000-0.json", b'{"id": "x"}'), ("00000-1.0.png", b"b")])
    (tmp_path / "0.tar").write_bytes(raw)
    samples = list(wds.WebDataset(str(tmp_path / "0.tar"), shardshuffle=False))
    assert [s["__key__"] for s in samples] == ["00000-0", "00000-1"]
    assert samples[0]["0.jpg"] == b"a"
    assert samples[0]["json"] == b'{"id": "x"}'


def test_reader(tmp_path: Path) -> None:
    raw, [(offset, size)] = _tar([("a.bin", b"hello")])
    (tmp_path / "0.tar").write_bytes(raw)
    with MediaReader(tmp_path) as reader:
        assert reader.read("0.tar", offset, size) == b"hello"
        with pytest.raises(UserError, match="ends before byte"):
            reader.read("0.tar", len(raw), 1)
        with pytest.raises(UserError, match="cannot open"):
            reader.read("1.tar", 0, 1)


@pytest.mark.parametrize("shard", ["../0.tar", "a/../../0.tar", "/etc/passwd"])
def test_reader_stays_in_its_folder(tmp_path: Path, shard: str) -> None:
    with MediaReader(tmp_path) as reader, pytest.raises(UserError, match="leaves the store"):
        reader.read(shard, 0, 1)


def test_tables(tmp_path: Path) -> None:
    table = pa.table({"a": [1, None], "b": ["x", "y"]})
    path = tmp_path / shard_name(17, "parquet")
    assert path.name == "00017.parquet"
    write_table(path, table)
    first = path.read_bytes()
    write_table(path, table)
    assert path.read_bytes() == first
    assert read_table(path) == table
    assert read_table(path, ["b"]).column_names == ["b"]


def test_a_damaged_table_says_which(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(UserError, match="no such file"):
        read_table(path)
    for data in (b"", b"PAR1" + b"\0" * 100):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"damaged shard .*x\.parquet"):
            read_table(path)
