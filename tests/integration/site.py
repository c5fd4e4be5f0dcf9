"""A web server on this machine, for artefacts."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site(ThreadingHTTPServer):
    """One file at every path, with ranges or without.

    It may break off once after `break_after` bytes, or stop there until `going_on` is set.
    """

    content = b""
    ranges = True
    break_after: int | None = None
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.asked: list[str | None] = []
        self.going_on = threading.Event()
        self.going_on.set()

    @classmethod
    @contextmanager
    def running(cls) -> Iterator["Site"]:
        site = cls()
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            yield site
        finally:
            site.going_on.set()
            site.shutdown()
            thread.join()
            site.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/net.onnx"


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site = self.server
        assert isinstance(site, Site)
        wanted = self.headers["range"]
        site.asked.append(wanted)
        start = int(wanted[6:-1]) if wanted and site.ranges else 0
        if start >= len(site.content) and start:
            self.send_response(416)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        body = site.content[start:]
        self.send_response(site.status if site.status != 200 else 206 if start else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        stop, site.break_after = site.break_after, None
        self.wfile.write(body[:stop])
        if not site.going_on.is_set():
            self.wfile.flush()
            site.going_on.wait()
            self.wfile.write(body[stop:])

    def log_message(self, *_: object) -> None:
        pass
