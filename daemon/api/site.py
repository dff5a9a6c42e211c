"""The web page of the main site: a handful of static files under a strict policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quart import Blueprint, Response, request, send_from_directory
from quart_schema import hide

from daemon.api.guard import is_api
from daemon.api.problems import http_problem

if TYPE_CHECKING:
    from werkzeug.exceptions import HTTPException

blueprint = Blueprint("site", __name__)

WEBROOT = Path(__file__).parents[1] / "webroot"
# Nothing from elsewhere, nothing inline, in nobody's frame: a script that got into the page could use the session.
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # revalidated by ETag, so that an update of the server is seen at once
}

_NOT_FOUND = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Not found</title>
<h1>There is nothing here</h1>
<p><a href="/">To the start page</a></p>
</html>
"""


@blueprint.get("/")
@blueprint.get("/login")
@hide
async def page() -> Response:
    """The page; its script shows what the address and the session ask for."""
    return await _file("index.html")


@blueprint.get("/static/<path:name>")
@hide
async def static_file(name: str) -> Response:
    """A script, a style sheet or an image of the page."""
    return await _file(name)


@blueprint.app_errorhandler(404)
async def not_found(error: HTTPException) -> Response:
    """A page for people who went astray; a problem for programs, and for everybody under ``/api/``."""
    if is_api(request.path) or "text/html" not in request.headers.get("Accept", ""):
        return http_problem(error).response()
    return Response(_NOT_FOUND, 404, _HEADERS, content_type="text/html; charset=utf-8")


async def _file(name: str) -> Response:
    response = await send_from_directory(WEBROOT, name)
    response.headers.update(_HEADERS)
    return response
