import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.errors import UserError
from catalog.store import DatasetVersion, SourceVersion, Store
from catalog.web import server

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    store = Store(tmp_path)
    source = SourceVersion(
        name="s", digest="ab" * 32, layout="cd" * 32, role="train", license=HOSTILE, shards=1, shard_rows=10, rows=3,
        samples=2, rejects=1, rejected={"bad_json": 1}, tasks={"text": 2}, media={}, spec={},
    )  # fmt: skip
    store.save_source(source, store.source_dir("s", source.digest))
    dataset = DatasetVersion(
        name="d", digest="ef" * 32, recipe={"rules": []}, sources=({"name": "s", "digest": source.digest, "samples": 2},),
        counts={"rows": 3, "rejected": 1, "dropped": 1, "kept": 1}, ledger="00", content="11", decontamination=(),
    )  # fmt: skip
    store.save_dataset(dataset, store.dataset_dir("d", dataset.version))
    httpd = server(store, host="127.0.0.1", port=0)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()


def get(url: str, host: str | None = None) -> tuple[int, str, str]:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as r:
            return r.status, r.headers["Content-Security-Policy"], r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.headers["Content-Security-Policy"], e.read().decode()


def test_the_front_page_lists_versions_and_escapes_what_data_says(address: str) -> None:
    status, policy, body = get(f"{address}/")
    assert status == 200
    assert "default-src 'none'" in policy
    assert "d@" + "ef" * 8 in body
    assert HOSTILE not in body
    assert "&lt;script&gt;" in body


def test_every_page_has_a_json_twin(address: str) -> None:
    front = json.loads(get(f"{address}/index.json")[2])
    assert front["datasets"][0]["kept"] == 1
    one = json.loads(get(f"{address}/sources/s.json")[2])
    assert {"field": "samples", "value": 2} in one["record"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/datasets/none", "/reports/d", "/sources/..%2f..%2fetc", "/../../etc/passwd"]
)
def test_what_is_not_there_is_a_404_with_a_line(address: str, path: str) -> None:
    status, _, body = get(address + path)
    assert status == 404
    assert body


def test_another_site_that_points_its_name_here_is_refused(address: str) -> None:
    assert get(f"{address}/", host="evil.example:80")[0] == 403


def test_a_taken_port_is_one_clear_line(address: str, tmp_path: Path) -> None:
    port = int(address.rpartition(":")[2])
    with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}") as e:
        server(Store(tmp_path), host="127.0.0.1", port=port)
    assert "--port" in e.value.hint
