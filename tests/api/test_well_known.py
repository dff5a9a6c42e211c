"""``/.well-known/security.txt``: as RFC 9116 has it, or a word on what is missing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.security_txt import security_txt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.support import Bench

PATH = "/.well-known/security.txt"
LINE = re.compile(r"([A-Z][A-Za-z-]+): (\S+)\n")


async def test_with_a_contact(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(
        security_contact="mailto:security@example.com", base_domain="agents.example.com", base_scheme="https",
        public_port=None,
    )  # fmt: skip
    response = await bench.client().get(PATH)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    text = await response.get_data(as_text=True)
    fields = LINE.findall(text)
    assert LINE.sub("", text) == "", "every line is a field"
    assert len({name for name, _ in fields}) == len(fields)
    found = dict(fields)
    expires = datetime.fromisoformat(found.pop("Expires"))
    assert timedelta(days=30) < expires - datetime.now(UTC) < timedelta(days=365)
    assert found == {
        "Contact": "mailto:security@example.com",
        "Preferred-Languages": "en",
        "Canonical": f"https://agents.example.com{PATH}",
    }
    assert await (await bench.client().get(PATH)).get_data(as_text=True) == text, "it is of the start"


def test_on_plain_http_it_names_no_address() -> None:
    """RFC 9116, 2.5.2: only https would be true of where it is."""
    text = security_txt("https://example.com/report", "http://localhost:8080", datetime(2026, 1, 31, 12, tzinfo=UTC))
    assert text == "Contact: https://example.com/report\nExpires: 2027-01-26T12:00:00Z\nPreferred-Languages: en\n"


@pytest.mark.parametrize("headers", [{}, {"Accept": "text/html"}])
async def test_without_one_the_operator_learns_how(bench: Bench, headers: dict[str, str]) -> None:
    response = await bench.client().get(PATH, headers=dict(headers))
    assert response.status_code == 404
    problem = await response.get_json()
    assert problem["code"] == "no_security_contact"
    assert "SECURITY_CONTACT" in problem["detail"]
    assert (await bench.client().get("/.well-known/other")).status_code == 404
