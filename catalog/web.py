"""The catalog as a page: what is in the store, and the report of each dataset version. Read-only, for this machine only.

Every page has a twin ending in `.json`. Names in an address are looked up in the index, never joined to a path.
"""

import html
import json
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from catalog.errors import UserError
from catalog.store import Store

STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .7rem;border-bottom:1px solid #8884}
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.9em}h1{font-size:1.4rem}h2{font-size:1.1rem}"""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def server(store: Store, *, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server bound to `host:port` (port 0: any); raise `UserError` when the port is taken."""
    if not store.root.is_dir():
        msg = f"no store at `{store.root}`"
        raise UserError(msg, hint="`cuvee ingest` or `cuvee demo` makes one")
    handler = type("Handler", (_Handler,), {"store": store, "host": host})
    try:
        return _Server((host, port), handler)
    except OSError as e:
        msg = f"cannot listen on {host}:{port}: {e.strerror}"
        raise UserError(msg, hint="choose another port with `--port`, or `--port 0` for any that is free") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    store: Store
    host: str

    def do_GET(self) -> None:
        """Answer with a page, its JSON twin or a report."""
        # A page on another site can make a browser ask us under its own name (DNS rebinding): only our names are served.
        name = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host") or ""
        if name not in ("127.0.0.1", "localhost", "[::1]", self.host):
            self._send(403, "text/plain", b"unknown host")
            return
        path = unquote(urlsplit(self.path).path).strip("/")
        wants_json = path.endswith(".json")
        parts = path.removesuffix(".json").split("/") if path not in ("", "index.json") else []
        try:
            self._route(parts, wants_json=wants_json)
        except UserError as e:
            self._send(404, "text/plain; charset=utf-8", str(e).encode())

    def _route(self, parts: list[str], *, wants_json: bool) -> None:
        if not parts:
            self._page("Cuvee", overview(self.store), wants_json=wants_json)
        elif parts[0] in ("sources", "datasets") and len(parts) == 2:
            version = self.store.source(parts[1]) if parts[0] == "sources" else self.store.dataset(parts[1])
            self._page(version.ref, _record(version), wants_json=wants_json)
        elif parts[0] == "reports" and len(parts) == 2:
            dataset = self.store.dataset(parts[1])
            report = self.store.dataset_dir(dataset.name, dataset.version) / "report.html"
            if not report.is_file():
                msg = f"dataset `{dataset.ref}` has no report yet"
                raise UserError(msg, hint=f"`cuvee report {dataset.ref}` writes it")
            self._send(200, "text/html; charset=utf-8", report.read_bytes())
        else:
            msg = "no such page"
            raise UserError(msg)

    def _page(self, title: str, tables: Mapping[str, list[dict[str, Any]]], *, wants_json: bool) -> None:
        if wants_json:
            body = json.dumps(tables, indent=2, ensure_ascii=False, default=str).encode("utf-8", "replace")
            self._send(200, "application/json", body)
        else:
            self._send(200, "text/html; charset=utf-8", page(title, tables).encode("utf-8", "replace"))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: standard error belongs to the user's messages."""


def overview(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Return what the front page shows: sources and dataset versions."""
    return {
        "datasets": [
            {"dataset": d.ref, **d.counts, "report": f"reports/{d.ref}", "link": f"datasets/{d.ref}"}
            for d in store.datasets()
        ],
        "sources": [
            {"source": s.ref, "role": s.role, "samples": s.samples, "rejects": s.rejects, "license": s.license,
             "link": f"sources/{s.ref}"}
            for s in store.sources()
        ],
    }  # fmt: skip


def _record(version: Any) -> dict[str, list[dict[str, Any]]]:
    import dataclasses

    fields = dataclasses.asdict(version)
    simple = [{"field": k, "value": v} for k, v in fields.items() if not isinstance(v, dict | list | tuple)]
    tables = {k: [{"name": n, "value": x} for n, x in v.items()] for k, v in fields.items() if isinstance(v, dict)}
    lists = {k: list(v) for k, v in fields.items() if isinstance(v, tuple) and all(isinstance(x, dict) for x in v)}
    return {"record": simple, **lists, **tables}


def page(title: str, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """Return an HTML page of tables; everything in it is escaped."""
    out = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"]
    out.append(f"<meta name=viewport content='width=device-width'><style>{STYLE}</style><h1>{html.escape(title)}</h1>")
    for name, given in tables.items():
        rows = list(given)
        columns = [c for c in (rows[0] if rows else {}) if c != "link"]
        head = "".join(f"<th>{html.escape(c)}" for c in columns)
        out.append(
            f"<h2>{html.escape(name)}</h2><table><tr>{head}</tr>" if rows else f"<h2>{html.escape(name)}</h2>none yet"
        )
        out += ["<tr>" + "".join(_cell(r, c) for c in columns) + "</tr>" for r in rows]
        out.append("</table>")
    return "".join(out)


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"<td class=n>{value:,}"
    text = html.escape(str(value))
    if column == "report":
        return f"<td><a href='/{text}'>report</a>"
    if "link" in row and column in ("dataset", "source"):
        return f"<td><a href='/{html.escape(str(row['link']))}'>{text}</a>"
    return f"<td>{text}"
