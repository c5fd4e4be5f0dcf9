"""`/docs`: Swagger UI over `/openapi.json`, from files that are served from here.

Sites of the edge often have no internet, and a script from elsewhere could call everything that the
page's reader may. The page has no script inside, its URLs are relative, so that it works under any
prefix, and its policy lets it load and call nothing but this server.
"""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

FILES = Path(__file__).parent / "swagger"
SERVED = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "init.js": "text/javascript",
}

_HEADERS = {
    # Swagger's style sheet has its pictures as data. No frames: a page around this one could lead
    # its reader's clicks to what is called here.
    "content-security-policy": "default-src 'self'; img-src 'self' data:; object-src 'none';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_CACHED = {**_HEADERS, "cache-control": "max-age=3600"}
_PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Manta</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="docs/swagger-ui.css">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="docs/swagger-ui-bundle.js"></script>
    <script src="docs/init.js"></script>
  </body>
</html>
"""


def docs_routes() -> list[BaseRoute]:
    """`/docs`, and under it the files of the page."""

    async def page(_: Request) -> Response:
        return Response(_PAGE, media_type="text/html", headers=_HEADERS)

    def route_of(name: str, media_type: str) -> Route:
        async def file(_: Request) -> Response:
            return FileResponse(FILES / name, media_type=media_type, headers=_CACHED)

        return Route(f"/docs/{name}", file, methods=["GET"])

    return [
        Route("/docs", page, methods=["GET"]),
        *(route_of(name, media_type) for name, media_type in SERVED.items()),
    ]
