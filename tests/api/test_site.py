"""The web page's files and what protects them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.api import site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.support import Bench


@pytest.fixture(autouse=True)
def webroot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of our own beside a file that must not be served."""
    root = tmp_path / "webroot"
    root.mkdir()
    (root / "index.html").write_text("<!doctype html><title>cli-server</title>")
    (root / "app.js").write_text("let x = 1;")
    (root / "style.css").write_text("a {}")
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(site, "WEBROOT", root)
    return root


@pytest.mark.parametrize("path", ["/", "/login", "/login?next=/api/sandboxes/abcdefghij012345/open"])
async def test_the_page(bench: Bench, path: str) -> None:
    response = await bench.client().get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "cli-server" in await response.get_data(as_text=True)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/static/app.js", "text/javascript"),
        ("/static/style.css", "text/css"),
        ("/nope", "text/html"),
    ],
)
async def test_a_script_that_got_into_the_page_could_do_nothing(bench: Bench, path: str, kind: str) -> None:
    """A page of ours with the session's cookie runs our own scripts only, and in nobody's frame."""
    response = await bench.client().get(path, headers={"Accept": "text/html"})
    assert response.headers["content-type"].startswith(kind)
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"


async def test_it_is_revalidated_and_not_sent_twice(bench: Bench) -> None:
    response = await bench.client().get("/static/app.js")
    assert response.headers["cache-control"] == "no-cache"
    again = await bench.client().get("/static/app.js", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304


async def test_strays(bench: Bench) -> None:
    for path in (
        "/nope",
        "/static/nope.js",
        "/static/",
        "/static/..%2fsecret",
        "/static/../secret",
        "/static/%2e%2e/secret",
    ):
        page = await bench.client().get(path, headers={"Accept": "text/html,*/*"})
        assert page.status_code == 404
        text = await page.get_data(as_text=True)
        assert text.startswith("<!doctype html>")
        assert "secret" not in text
        program = await bench.client().get(path)
        assert program.status_code == 404
        assert program.headers["content-type"] == "application/problem+json"


async def test_posting_to_the_page(bench: Bench) -> None:
    response = await bench.client().post("/", {})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
