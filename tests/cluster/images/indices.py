"""Indices of packages that answer on this machine, and wheels to put into them."""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"


class Index:
    """What was asked of an index, and where it is."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[str] = []


@contextmanager
def serving(pages: Mapping[str, tuple[str, bytes]]) -> Iterator[Index]:
    """An index with these pages, by path: their type and content; a type of `location` redirects there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            kind, content = pages.get(self.path, ("", b""))
            self.send_response(404 if not kind else 302 if kind == "location" else 200)
            self.send_header(*(("Location", content.decode()) if kind == "location" else ("Content-Type", kind)))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index = Index(f"http://127.0.0.1:{server.server_port}/simple")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield index
        server.shutdown()


def page_json(files: Mapping[str, str], **more: object) -> tuple[str, bytes]:
    """The page of a package: SHA-256 by name of file; `more` is said of each."""
    said = [
        {"filename": name, "url": name, "hashes": {"sha256": sha} if sha else {}, **more} for name, sha in files.items()
    ]
    return JSON, json.dumps({"meta": {"api-version": "1.0"}, "name": "a", "files": said}).encode()


def page_html(files: Mapping[str, str], attribute: str = "") -> tuple[str, bytes]:
    """The same as older indices have it."""
    links = (
        f'<a href="/files/{name.replace("+", "%2B")}{f"#sha256={sha}" * bool(sha)}" {attribute}>{name}</a><br/>'
        for name, sha in files.items()
    )
    return HTML, f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()


def wheel(name: str, version: str, said: str = "") -> tuple[str, bytes]:
    """Name and content of a wheel whose only module says something."""
    content = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{name}.py", f"SAID = {said!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return f"{name}-{version}-py3-none-any.whl", content.getvalue()


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
