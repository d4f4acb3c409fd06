"""A page on this machine only: nothing that it is given leaves the machine, and it asks no other server."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from dg_project.core.errors import DataError, DGError
from dg_project.core.ports import LOOPBACK
from dg_project.data.images import BROKEN, open_rgb
from dg_project.figures.style import method_label, readable

if TYPE_CHECKING:
    from dg_project.demo.studio import Studio

MOST_BYTES = 30 * 2**20
"""Largest request: a photo in base64."""
PAGE = Path(__file__).with_name("page.html")


class DemoServer(ThreadingHTTPServer):
    """Serves the page, its sample photos, and ``POST /look``.

    Args:
        studio: paints and detects.
        port: port on the loopback address; 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, studio: Studio, port: int) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.studio = studio
        self._one_at_a_time = threading.Lock()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    @cached_property
    def page(self) -> bytes:
        """The page with the names of the weathers and the number of samples filled in."""
        facts = {"weathers": [{"name": name, "label": readable(name)} for name in self.studio.weathers],
                 "samples": len(self.studio.samples),
                 "models": [method_label(model.spec.method) for model in self.studio.models]}
        return PAGE.read_text(encoding="utf-8").replace("__FACTS__", json.dumps(facts)).encode()

    def look(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Paint and detect; see ``page.html`` for the fields.

        Raises:
            DGError: the request names no photo, or one that cannot be read.
        """
        started = time.perf_counter()
        with self._one_at_a_time:
            image = self.studio.fitted(self._photo(asked))
            weather = str(asked.get("weather") or "")
            painted = self.studio.paint(image, weather, float(asked.get("strength", 0.5)), int(asked.get("seed", 0))) \
                if weather else image
            found = self.studio.detect(painted)
        return {
            "photo": _data_url(image), "painted": _data_url(painted),
            "models": [{"name": method_label(one.method), "image": _data_url(one.drawn), "found": one.counts}
                       for one in found],
            "seconds": round(time.perf_counter() - started, 1),
        }

    def _photo(self, asked: dict[str, Any]) -> Image.Image:
        if "sample" in asked:
            return open_rgb(self.studio.samples[int(asked["sample"])])
        try:
            return open_rgb(io.BytesIO(base64.b64decode(str(asked["photo"]).partition(",")[2])), rotate=True)
        except KeyError as error:
            raise DataError("no photo was sent") from error
        except BROKEN as error:
            raise DataError("this file is no image, or it is truncated; drop a JPEG or PNG") from error


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer

    def do_GET(self) -> None:
        """Answer with the page or a sample photo."""
        if not self._is_for_us():
            return
        name = self.path.split("?")[0]
        if name == "/":
            self._answer(200, "text/html; charset=utf-8", self.server.page)
        elif (number := name.removeprefix("/sample/")).isdecimal() and int(number) < len(self.server.studio.samples):
            self._answer(200, "image/jpeg", _jpeg(open_rgb(self.server.studio.samples[int(number)])))
        else:
            self._answer(404, "text/plain", b"not found")

    def do_POST(self) -> None:
        """Answer ``/look`` with painted and drawn images, or with the reason why there are none."""
        if not self._is_for_us():
            return
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/look" or not 0 < length <= MOST_BYTES:
            self._json(400, {"error": f"the photo is too large: at most {MOST_BYTES // 2**20} MB"})
            return
        try:
            self._json(200, self.server.look(json.loads(self.rfile.read(length))))
        except (DGError, ValueError, TypeError, IndexError) as error:
            self._json(400, {"error": str(error)})

    def _is_for_us(self) -> bool:
        """Refuse requests that another site's page sends here under its own name."""
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        origin = self.headers.get("Origin")
        fine = host in (LOOPBACK, "localhost") and origin in (None, f"http://{self.headers.get('Host')}")
        if not fine:
            self._answer(403, "text/plain", b"this page is for this machine only")
        return fine

    def _json(self, status: int, content: dict[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(content).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy",
                         "default-src 'none'; img-src 'self' data: blob:; style-src 'unsafe-inline'; "
                         "script-src 'unsafe-inline'; connect-src 'self'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *details: Any) -> None:
        """Log nothing: the terminal shows the address."""


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def _data_url(image: Image.Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(image)).decode()}"
