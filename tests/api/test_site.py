"""The web UI's files and what protects them."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from daemon.api import site
from daemon.api.webroot import Webroot, choose

if TYPE_CHECKING:
    from pathlib import Path

    from quart import Response

    from tests.api.support import Bench

INDEX = "<!doctype html><title>cli-server</title>"
SCRIPT = "let x = 1;"
BROWSER = {"Accept": "text/html,*/*", "Accept-Encoding": "gzip, deflate, br, zstd"}
FOR_EVER = "public, max-age=31536000, immutable"


@pytest.fixture(autouse=True)
def webroot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build of our own beside a file that must not be served. A "br" says what it is; nothing here unpacks it."""
    root = tmp_path / "webroot"
    (root / "assets" / "deeper.js").mkdir(parents=True)
    files = {"index.html": INDEX, "theme.js": SCRIPT, "favicon.svg": "<svg/>", "assets/app-3f2a.js": SCRIPT}
    for name, text in files.items():
        (root / name).write_text(text)
        (root / f"{name}.br").write_text(f"br of {name}")
        (root / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    (root / "assets" / "mono-77aa.woff2").write_bytes(b"font")
    (root / "assets" / "app-3f2a.js.map").write_text("{}")
    (root / "assets" / "orphan.js.br").write_text("its plain file is missing")
    (root / "manifest.json").write_text("{}")
    (root / ".hidden.js").write_text(SCRIPT)
    (tmp_path / "secret.js").write_text("secret")
    monkeypatch.setattr(site, "WEBROOT", Webroot(root))
    return root


async def _text(response: Response) -> str:
    return await response.get_data(as_text=True)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/login",
        "/login?next=/api/sandboxes/abcdefghij012345/open",
        "/register",
        "/invite",
        "/w/abcdefghij012345/sandboxes",
        "/w/abcdefghij012345/settings",
        "/sandboxes/abcdefghij012345",
        "/sandboxes/abcdefghij012345/logs",
        "/account/sessions",
        "/admin/audit",
    ],
)
async def test_the_page(bench: Bench, path: str) -> None:
    """The address bar is the state: each of these is loaded anew as it stands."""
    response = await bench.client().get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert await _text(response) == INDEX


@pytest.mark.parametrize(
    ("path", "kind", "caching"),
    [
        ("/assets/app-3f2a.js", "text/javascript; charset=utf-8", FOR_EVER),
        ("/assets/mono-77aa.woff2", "font/woff2", FOR_EVER),
        ("/theme.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/favicon.svg", "image/svg+xml", "no-cache"),
    ],
)
async def test_files_by_kind_and_for_how_long(bench: Bench, path: str, kind: str, caching: str) -> None:
    response = await bench.client().get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == kind
    assert response.headers["cache-control"] == caching
    assert response.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/", "/assets/app-3f2a.js", "/theme.js"])
async def test_a_script_that_got_into_the_page_could_do_nothing(bench: Bench, path: str) -> None:
    """A page of ours with the session's cookie runs our own scripts only, and in nobody's frame."""
    response = await bench.client().get(path, headers=dict(BROWSER))
    policy = dict(rule.strip().split(" ", 1) for rule in response.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "worker-src": "'self'",
        "manifest-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/assets/app-3f2a.js"])
async def test_what_was_compressed_by_the_build_is_sent_so(bench: Bench, path: str, webroot: Path) -> None:
    name = "index.html" if path == "/" else path[1:]
    plain, br, gz = (webroot / name).read_bytes(), f"br of {name}".encode(), (webroot / f"{name}.gz").read_bytes()
    client = bench.client()
    tags = set()
    for accepted, encoding, body in ((None, None, plain), ("gzip", "gzip", gz), ("gzip, br", "br", br)):
        response = await client.get(path, headers={"Accept-Encoding": accepted})
        assert response.headers.get("content-encoding") == encoding
        assert await response.get_data() == body
        assert response.headers["content-length"] == str(len(body))
        assert response.headers["content-type"].startswith("text/")
        tags.add(response.headers["etag"])
    assert len(tags) == 3, "a cache must not take one encoding for another"
    assert not any(tag.startswith("W/") for tag in tags)


@pytest.mark.parametrize(
    ("accepted", "there", "chosen"),
    [
        ({}, ("br", "gzip"), ""),
        ({"gzip": 1.0, "br": 1.0}, ("br", "gzip"), "br"),
        ({"gzip": 1.0, "br": 0.5}, ("br", "gzip"), "gzip"),
        ({"gzip": 0.2}, ("br", "gzip"), "gzip"),
        ({"gzip": 1.0, "br": 1.0}, ("gzip",), "gzip"),
        ({"gzip": 1.0, "br": 1.0}, (), ""),
        ({"br": 0.0}, ("br", "gzip"), ""),
        ({"*": 1.0}, ("br", "gzip"), "br"),
        ({"*": 1.0, "br": 0.0}, ("br", "gzip"), "gzip"),
        ({"*": 0.0}, ("br", "gzip"), ""),
        ({"identity": 1.0, "gzip": 0.5}, ("br", "gzip"), ""),
        ({"identity": 0.5, "gzip": 0.5}, ("br", "gzip"), "gzip"),
        ({"identity": 0.0, "gzip": 0.1}, ("br", "gzip"), "gzip"),
        ({"identity": 0.0}, ("br", "gzip"), ""),
        ({"deflate": 1.0, "zstd": 1.0}, ("br", "gzip"), ""),
    ],
)
def test_the_encoding_that_is_liked_best(accepted: dict[str, float], there: tuple[str, ...], chosen: str) -> None:
    assert choose(accepted, there) == chosen


@pytest.mark.parametrize(
    ("header", "encoding"),
    [("GZIP;q=1.0, BR;q=0.1", "gzip"), ("br;q=0, gzip;q=0", None), ("br;q=x, gzip", "gzip"), ("", None), (";;,", None)],
)
async def test_how_a_client_says_so(bench: Bench, header: str, encoding: str | None) -> None:
    response = await bench.client().get("/theme.js", headers={"Accept-Encoding": header})
    assert response.headers.get("content-encoding") == encoding


@pytest.mark.parametrize("path", ["/", "/theme.js", "/assets/app-3f2a.js"])
async def test_it_is_revalidated_and_not_sent_twice(bench: Bench, path: str) -> None:
    client = bench.client()
    for accepted in ("br", "gzip", "identity"):
        first = await client.get(path, headers={"Accept-Encoding": accepted})
        again = await client.get(path, headers={"Accept-Encoding": accepted, "If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
        assert await again.get_data() == b""
        for name in ("etag", "vary", "cache-control", "content-security-policy"):
            assert again.headers[name] == first.headers[name]
        other = await client.get(path, headers={"Accept-Encoding": accepted, "If-None-Match": '"another"'})
        assert other.status_code == 200


async def test_an_update_is_seen_at_once(bench: Bench, webroot: Path) -> None:
    """Two builds whose page has the same size and the same time: some packages set all times alike."""
    index = webroot / "index.html"
    os.utime(index, (1, 1))
    before = await bench.client().get("/")
    assert await _text(before) == INDEX
    update = webroot / "new"
    update.write_text(INDEX.upper())
    os.utime(update, (1, 1))
    update.replace(index)
    after = await bench.client().get("/", headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert await _text(after) == INDEX.upper()


async def test_head(bench: Bench) -> None:
    client = bench.client()
    for path in ("/", "/assets/app-3f2a.js", "/theme.js"):
        whole = await client.get(path, headers={"Accept-Encoding": "br"})
        head = await client.request("HEAD", path, headers={"Accept-Encoding": "br"})
        assert head.status_code == 200
        # The body is kept back by Hypercorn, which this client does without.
        assert dict(head.headers) == dict(whole.headers)
    assert (await client.request("HEAD", "/assets/nope.js")).status_code == 404


async def test_parts_are_not_sent(bench: Bench) -> None:
    """A range of what? Two encodings of a file have nothing in common; the whole is always right."""
    response = await bench.client().get("/theme.js", headers={"Range": "bytes=0-2"})
    assert response.status_code == 200
    assert await _text(response) == SCRIPT


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/nope.js",
        "/w/",
        "/admin",
        "/index.html",
        "/index.html.br",
        "/manifest.json",
        "/.hidden.js",
        "/theme.js.br",
        "/theme.js.gz",
        "/static/app.js",
        "/assets",
        "/assets/",
        "/assets/nope-0000.js",
        "/assets/app-3f2a.js.br",
        "/assets/app-3f2a.js.gz",
        "/assets/app-3f2a.js.map",
        "/assets/orphan.js",
        "/assets/deeper.js",
        "/assets/app-3f2a.js/",
        "/assets/app-3f2a.js/x.js",
        "/assets/..%2f..%2fsecret.js",
        "/assets/../../secret.js",
        "/assets/%2e%2e/%2e%2e/secret.js",
        "/assets/..%5c..%5csecret.js",
        "/assets/app-3f2a.js%00.js",
        "/assets/app-3f2a.js%0a",
        "/..%2fsecret.js",
        "/%2e%2e/secret.js",
        "//secret.js",
        pytest.param("/assets/" + "x" * 5000 + ".js", id="long"),
    ],
)
async def test_strays(bench: Bench, path: str) -> None:
    """Least of all the page: a script that is missing must not be answered with HTML and status 200."""
    page = await bench.client().get(path, headers=dict(BROWSER))
    assert page.status_code == 404
    text = await _text(page)
    assert text.startswith("<!doctype html>")
    assert "There is nothing here" in text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    program = await bench.client().get(path)
    assert program.status_code == 404
    assert program.headers["content-type"] == "application/problem+json"
    assert page.headers["cache-control"] == program.headers["cache-control"] == "no-store"


async def test_where_the_web_ui_was_not_built(bench: Bench, webroot: Path) -> None:
    for name in ("index.html", "index.html.br", "index.html.gz"):
        (webroot / name).unlink()
    assert not site.WEBROOT.built
    client = bench.client()
    for path in ("/", "/w/abcdefghij012345/sandboxes"):
        page = await client.get(path, headers=dict(BROWSER))
        assert page.status_code == 503
        assert "make webui" in await _text(page)
        assert "style-src 'sha256-" in page.headers["content-security-policy"]
        program = await client.get(path)
        assert program.status_code == 503
        assert (await program.get_json())["code"] == "web_ui_not_built"
        assert page.headers["cache-control"] == program.headers["cache-control"] == "no-store"
    assert (await client.get("/api/openapi.json")).status_code == 200
    (webroot / "index.html").write_text(INDEX)
    assert site.WEBROOT.built
    assert (await client.get("/")).status_code == 200


async def test_posting_to_the_page(bench: Bench) -> None:
    response = await bench.client().post("/", {})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
