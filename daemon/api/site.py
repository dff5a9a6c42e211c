"""The web UI's files under a strict policy, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from quart import Blueprint, Response, request
from quart_schema import hide
from werkzeug.exceptions import NotFound

from daemon.api.guard import is_api
from daemon.api.problems import Problem, http_problem
from daemon.api.webroot import Webroot
from daemon.pages.layout import HEADERS, Content, Link, html

if TYPE_CHECKING:
    from werkzeug.exceptions import HTTPException

    from daemon.api.webroot import Served

blueprint = Blueprint("site", __name__)

WEBROOT = Webroot(Path(__file__).parents[1] / "webroot")
# Nothing from elsewhere, nothing inline, in nobody's frame: a script that got into the page could use the session.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
# The name changes with the content: a year is the longest that RFC 9111's readers promise to keep anything.
_FOR_EVER: Final = "public, max-age=31536000, immutable"
# Revalidated by ETag, so that an update of the server is seen at once.
_ASK_AGAIN: Final = "no-cache"

_NOT_FOUND: Final = Content(
    title="There is nothing here",
    word="Not found",
    icon="search",
    text="The address is mistyped, or what was here is gone. Nothing was changed.",
    links=(Link("All sandboxes", "/", first=True),),
)
_NOT_BUILT: Final = Content(
    title="The web UI was not built",
    word="Not available",
    icon="stop",
    text="This server has no files for its pages. Nothing is lost: sandboxes, their own addresses and the API work. "
    "Whoever runs it builds the pages with “make webui” in the source tree; no restart is needed.",
    links=(Link("The API's description", "/api/openapi.json"),),
)


@blueprint.get("/")
@blueprint.get("/login")
@blueprint.get("/register")
@blueprint.get("/invite")
@blueprint.get("/w/<path:rest>")
@blueprint.get("/sandboxes/<path:rest>")
@blueprint.get("/account/<path:rest>")
@blueprint.get("/admin/<path:rest>")
@hide
async def page(rest: str = "") -> Response:
    """The page; its script shows what the address and the session ask for."""
    found = await trio.to_thread.run_sync(WEBROOT.index, _accepted())
    if found is None:
        return _not_built()
    return await _answer(found, _ASK_AGAIN)


@blueprint.get("/assets/<name>")
@hide
async def asset(name: str) -> Response:
    """A file whose name has a hash in it. One of another version is not here, and must not be taken for it."""
    return await _file(name, asset=True)


@blueprint.get("/<stem>.<suffix>")  # with a dot: "/api" and the like are none of ours
@hide
async def beside(stem: str, suffix: str) -> Response:
    """A file beside the page: the icon, the script that is needed before anything is painted."""
    return await _file(f"{stem}.{suffix}", asset=False)


@blueprint.app_errorhandler(404)
async def not_found(error: HTTPException) -> Response:
    """A page for people who went astray; a problem for programs, and for everybody under ``/api/``."""
    if is_api(request.path) or not _for_people():
        response = http_problem(error).response()
        response.headers["Cache-Control"] = "no-store"  # an asset that is missing here may be there after an update
        return response
    return _said(404, _NOT_FOUND)


async def _file(name: str, *, asset: bool) -> Response:
    accepted = _accepted()
    found = await trio.to_thread.run_sync(lambda: WEBROOT.find(name, accepted, asset=asset))
    if found is None:
        raise NotFound
    return await _answer(found, _FOR_EVER if asset else _ASK_AGAIN)


async def _answer(found: Served, caching: str) -> Response:
    response = Response(found.body, 200, _HEADERS | {"Cache-Control": caching}, content_type=found.kind)
    if found.encoding:
        response.headers["Content-Encoding"] = found.encoding
    response.set_etag(found.etag)
    await response.make_conditional(request)
    if response.status_code == 304:  # RFC 9110, section 15.4.5: of a 304 only what caches go by
        response.headers.pop("Content-Type", None)
    return response


def _accepted() -> dict[str, float]:
    return {name.lower(): quality for name, quality in request.accept_encodings}


def _for_people() -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _not_built() -> Response:
    if _for_people():
        return _said(503, _NOT_BUILT)
    detail = "The web UI was not built; the API works. In the source tree, make webui builds it."
    return Problem(503, "web_ui_not_built", detail, headers={"Cache-Control": "no-store"}).response()


def _said(status: int, content: Content) -> Response:
    """A page that needs no file: the same look and the same policy as those of sandbox hosts."""
    headers = {name.decode(): value.decode() for name, value in HEADERS}
    return Response(html(content), status, headers)
