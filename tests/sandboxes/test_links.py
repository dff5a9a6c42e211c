"""Where "open" may lead: to this sandbox's own hosts, whatever a browser makes of the text."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from daemon.sandboxes.links import InvalidNext, Link, open_link, ticket_link
from tests.api.support import make_settings

ID, OTHER = "a123456789abcdef", "b123456789abcdef"


@pytest.mark.parametrize(
    "wanted",
    [
        "", "relative", "?query", "//evil.example/", "///evil.example", "/\\evil.example", "\\evil.example",
        "\\\\evil.example", "https://evil.example/", "javascript:alert(1)", "data:text/html,x",
        f"http://oc-{OTHER}.localhost:8080/", f"http://3000-{OTHER}.localhost:8080/",
        f"http://oc-{ID}.localhost:8080@evil.example/", f"http://user@oc-{ID}.localhost:8080/",
        f"http://oc-{ID}.localhost:8080.evil.example/", f"http://oc-{ID}.localhost.evil.example:8080/",
        f"http://evil.example/http://oc-{ID}.localhost:8080/", f"http://oc-{ID}.localhost/",
        f"http://oc-{ID}.localhost:80800/", f"http://oc-{ID}.localhost:9999/", f"https://oc-{ID}.localhost:8080/",
        f"http://OC-{ID}.localhost:8080/", f"http://oc-{ID}.localhost:8080#x", f"//oc-{ID}.localhost:8080/",
        f"http://80-{ID}.localhost:8080/", f"http://0-{ID}.localhost:8080/", f"http://65536-{ID}.localhost:8080/",
        f"http://03000-{ID}.localhost:8080/", f"http://x-{ID}.localhost:8080/",
        "http://localhost:8080/", "/a\nb", "/a\r\nSet-Cookie: x=y", "/a\tb", "/a b", "/\x00", "/\x7f", "/é",
        "\t//evil.example", " /x", "/" + "x" * 5000,
    ],
)  # fmt: skip
def test_no_way_out(wanted: str) -> None:
    """Open redirects: other sandboxes, other sites, and texts that a browser reads otherwise than we do."""
    with pytest.raises(InvalidNext):
        open_link(make_settings(), ID, wanted)


@pytest.mark.parametrize(
    ("wanted", "label", "path"),
    [
        ("/", f"oc-{ID}", "/"),
        ("/a/b?c=d&e=//evil.example", f"oc-{ID}", "/a/b?c=d&e=//evil.example"),
        ("/@evil.example", f"oc-{ID}", "/@evil.example"),
        (f"http://oc-{ID}.localhost:8080", f"oc-{ID}", "/"),
        (f"http://oc-{ID}.localhost:8080/x?y", f"oc-{ID}", "/x?y"),
        (f"http://oc-{ID}.localhost:8080?y", f"oc-{ID}", "/?y"),
        (f"http://3000-{ID}.localhost:8080/x", f"3000-{ID}", "/x"),
        (f"http://65535-{ID}.localhost:8080/", f"65535-{ID}", "/"),
    ],
)
def test_ways_in(wanted: str, label: str, path: str) -> None:
    assert open_link(make_settings(), ID, wanted) == Link(label, path)


def test_a_ticket_url_leads_to_the_host_and_keeps_the_path_as_a_value() -> None:
    url = urlsplit(ticket_link(make_settings(), Link(f"oc-{ID}", "/x?a=b&ticket=other#y"), "t&t"))
    assert url.netloc == f"oc-{ID}.localhost:8080"
    assert parse_qs(url.query) == {"ticket": ["t&t"], "next": ["/x?a=b&ticket=other#y"]}
