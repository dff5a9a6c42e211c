"""Cookies that a sandbox host tosses at the others, sessions that are planted, and tickets in the wrong hands."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.security.stage import ATTACK
from tests.support.rows import database
from tests.support.visitor import PAGE

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

    from tests.security.stage import Stage
    from tests.support.visitor import Answer, Visitor

pytestmark = [pytest.mark.needs("postgres", "chromium"), pytest.mark.timeout(240)]

PASSWORD = "correct horse battery staple"
# As browsers say it to trustworthy origins, when a page of another site sends them there.
SENT = {**PAGE, "Sec-Fetch-Site": "cross-site"}
ASK = "path => fetch(path).then(answer => answer.json().then(body => [answer.status, body.username ?? null]))"
LOGIN = """
([username, password]) => fetch('/api/auth/login', {
  method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({username, password})
}).then(answer => answer.status)
"""


# Cookies


def toss(stage: Stage, context: BrowserContext, values: dict[str, str], paths: tuple[str, ...]) -> None:
    """A page of the hostile sandbox sets cookies in our names for the whole domain, under both prefixes."""
    page = stage.hostile(context, "sandbox")
    for name, value in values.items():
        for path in paths:
            for cookie in (
                f"{name}={value}; Path={path}; Domain={stage.product.domain}",
                f"{name}={value}; Path={path}; Domain={stage.product.domain}; Secure",
                f"__Host-{name}={value}; Path={path}; Domain={stage.product.domain}; Secure",
                f"__Secure-{name}={value}; Path={path}; Domain={stage.product.domain}; Secure",
            ):
                page.evaluate("cookie => { document.cookie = cookie; }", cookie)
    page.close()


def planted(stage: Stage) -> dict[str, str]:
    """A session of Mallory's, who would like the victim to work in it."""
    mallory = stage.product.visitor()
    mallory.login("mallory")
    kept = mallory.cookies[stage.product.domain]
    return {name.removeprefix("__Host-"): value for name, value in kept.items()}


def main_page(stage: Stage, context: BrowserContext) -> Page:
    """A page on the main site's origin without a script of its own."""
    page = context.new_page()
    page.goto(stage.origin + "/theme.js")
    return page


def ends_at(stage: Stage, values: dict[str, str]) -> bool:
    """Whether nobody is signed in by this session any more, or Mallory still is; never the victim."""
    name = "__Host-cli_server_session" if stage.setting == "https" else "cli_server_session"
    headers = {"Cookie": f"{name}={values['cli_server_session']}"}
    answer = stage.product.visitor().request("GET", stage.product.domain, "/api/auth/me", headers=headers)
    return answer.status == 401 or bool(answer.json()["username"] == "mallory")


@pytest.mark.parametrize("paths", [("/",), ("/api",), ("/", "/api/auth/", "/api/auth/me")], ids=str)
def test_a_cookie_tossed_at_who_is_signed_in(stage: Stage, paths: tuple[str, ...]) -> None:
    """She is never somebody else. Where the browser took the cookie she is nobody for one answer, which removes it."""
    context = stage.context(stage.victim)
    toss(stage, context, planted(stage), paths)
    page = main_page(stage, context)
    answers = [page.evaluate(ASK, "/api/auth/me") for _ in range(2)]
    assert answers[0] in ([401, None], [200, "victim"]) if stage.setting == "http" else answers[0] == [200, "victim"]
    assert answers[1] == [200, "victim"]


@pytest.mark.parametrize("path", ["/", "/api"])
def test_a_session_planted_before_signing_in(stage: Stage, path: str) -> None:
    """Session fixation: signing in begins a session of its own, and the planted cookie is not in its way."""
    context = stage.context(stage.victim)  # to come to the hostile page
    values = planted(stage)
    toss(stage, context, values, (path,))
    session = "__Host-cli_server_session" if stage.setting == "https" else "cli_server_session"
    context.clear_cookies(name=session, domain=stage.product.domain)  # hers alone; that of the domain has a dot
    page = main_page(stage, context)
    before = page.evaluate(ASK, "/api/auth/me")
    if stage.setting != "http":
        assert before == [401, None], "no browser takes it"
    assert page.evaluate(LOGIN, ["victim", PASSWORD]) == 200
    assert page.evaluate(ASK, "/api/auth/me") == [200, "victim"]
    kept = [cookie for cookie in context.cookies(stage.origin) if cookie["name"] == session]
    assert len(kept) == 1
    assert kept[0]["value"] != values["cli_server_session"]
    assert ends_at(stage, values)


def test_the_sandbox_hosts_cookie_tossed_by_a_sibling(stage: Stage) -> None:
    """Her other sandbox opens all the same, and as hers."""
    context = stage.context(stage.victim)
    page = context.new_page()
    page.goto(stage.at(f"oc-{stage.other}") + ATTACK)
    toss(stage, context, {"cli_server_sandbox": "tossed"}, ("/", "/attack"))
    page.goto(stage.at(f"oc-{stage.other}") + ATTACK)
    assert page.title() == "hostile"
    page.goto(stage.at(f"oc-{stage.other}") + ATTACK)
    assert page.title() == "hostile"


def test_by_its_answers_a_sandbox_sets_no_cookie_of_ours(stage: Stage) -> None:
    context = stage.context(stage.victim)
    page = context.new_page()
    page.goto(stage.at(f"oc-{stage.box}") + "/cookies")
    page.goto(stage.at(f"oc-{stage.box}") + "/cookies")
    names = {cookie["name"] for cookie in context.cookies() if cookie["value"] in ("stolen", "1")}
    assert names == {"mine"}
    assert main_page(stage, context).evaluate(ASK, "/api/auth/me") == [200, "victim"]


# Tickets


def ticket(stage: Stage, visitor: Visitor, box: str, query: str = "next=/dump") -> tuple[str, str]:
    """Host and target of the ticket that ``visitor`` gets for ``box``."""
    answer = visitor.request("GET", stage.product.domain, f"/api/sandboxes/{box}/open?{query}", headers=PAGE)
    assert answer.status == 302
    place = urlsplit(answer.header("location"))
    assert place.path == "/__cli-server/ticket"
    return str(place.hostname), f"{place.path}?{place.query}"


def bring(visitor: Visitor, host: str, target: str, headers: dict[str, str] | None = None) -> Answer:
    """Bring a ticket to a host."""
    return visitor.request("GET", host, target, headers=headers or PAGE)


def test_a_ticket_is_good_once(stage: Stage) -> None:
    host, target = ticket(stage, stage.victim, stage.box)
    assert bring(stage.product.visitor(), host, target).status == 303
    assert bring(stage.product.visitor(), host, target).status == 403
    assert bring(stage.victim, host, target).status == 403


def test_of_many_that_bring_a_ticket_at_once_one_wins(stage: Stage) -> None:
    host, target = ticket(stage, stage.victim, stage.box)
    statuses: list[int] = []

    def one() -> None:
        statuses.append(bring(stage.product.visitor(), host, target).status)

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [303, *[403] * 11]


def test_a_ticket_is_good_on_its_host_only(stage: Stage) -> None:
    host, target = ticket(stage, stage.victim, stage.box)
    domain = stage.product.domain
    for label in (f"oc-{stage.other}.", f"{stage.port}-{stage.box}.", f"3000-{stage.box}."):
        assert bring(stage.product.visitor(), label + domain, target).status == 403
    assert bring(stage.product.visitor(), domain, target).status == 404
    assert bring(stage.product.visitor(), host, target).status == 303


def test_a_ticket_runs_out(stage: Stage) -> None:
    host, target = ticket(stage, stage.victim, stage.box)
    with database(stage.product) as conn:
        conn.execute("UPDATE tickets SET expires_at = now()")
    assert bring(stage.victim, host, target).status == 403


def test_a_ticket_ends_with_its_session(stage: Stage) -> None:
    visitor = stage.product.visitor()
    visitor.login("victim")
    host, target = ticket(stage, visitor, stage.box)
    host_again, used = ticket(stage, visitor, stage.box)
    assert bring(visitor, host_again, used).status == 303
    visitor.api("POST", "/api/auth/logout")
    assert bring(visitor, host, target).status == 403
    assert visitor.request("GET", host, "/dump").status == 401


@pytest.mark.parametrize(
    "spoiled", ["ticket=", "ticket=x", "", "ticket=%00", "ticket=%F0%28", "next=/x", "ticket=x&browser=" + "0" * 32]
)
def test_what_is_no_ticket(stage: Stage, spoiled: str) -> None:
    for headers in (PAGE, SENT):
        answer = bring(
            stage.product.visitor(),
            f"oc-{stage.box}.{stage.product.domain}",
            f"/__cli-server/ticket?{spoiled}",
            headers,
        )
        assert answer.status == 403
        assert not answer.header("set-cookie")


@pytest.mark.parametrize("mark", ["x", "0" * 31, "0" * 33, "A" * 32, "0" * 31 + "%0A"])
def test_a_mark_has_a_form(stage: Stage, mark: str) -> None:
    target = f"/api/sandboxes/{stage.box}/open?browser={mark}"
    assert stage.victim.request("GET", stage.product.domain, target, headers=PAGE).status == 422


def test_who_follows_redirects_comes_in(stage: Stage) -> None:
    """A browser that comes from a link of the main page is sent for a second ticket, which is its own."""
    visitor = stage.product.visitor()
    visitor.login("victim")
    host, target = ticket(stage, visitor, stage.box)
    asked = bring(visitor, host, target, SENT)
    assert asked.status == 303
    again = urlsplit(asked.header("location"))
    assert (again.hostname, again.path) == (stage.product.domain, f"/api/sandboxes/{stage.box}/open")
    assert parse_qs(again.query)["next"] == ["/dump"]
    assert bring(stage.product.visitor(), host, target).status == 403, "the first one is used up"
    host, target = ticket(stage, visitor, stage.box, again.query)
    thief = stage.product.visitor()
    assert bring(thief, host, target).status == 403
    assert bring(thief, host, target, SENT).status == 403
    entered = bring(visitor, host, target, SENT)
    assert (entered.status, entered.header("location")) == (303, "/dump")
    names = set(visitor.cookies[host])
    assert len(names) == 1, "what it came with is gone"
    assert visitor.request("GET", host, "/dump").status == 200


def as_whom(stage: Stage, page: Page) -> Any:
    """For whom this browser's cookie of the hostile sandbox's host stands, by what the database keeps."""
    cookies = page.context.cookies(stage.at(f"oc-{stage.box}"))
    values = [cookie["value"] for cookie in cookies if cookie["name"].endswith("cli_server_sandbox")]
    with database(stage.product) as conn:
        rows = conn.execute(
            "SELECT u.username FROM sandbox_cookies c JOIN sessions s ON s.id = c.session_id"
            " JOIN users u ON u.id = s.user_id WHERE c.token_hash = ANY(SELECT sha256(convert_to(v, 'UTF8'))"
            " FROM unnest(%s::text[]) AS v)",
            (values,),
        ).fetchall()
    return [row[0] for row in rows]


def as_seen(stage: Stage, target: str) -> str:
    """The address that a browser in this setting uses for a ticket's."""
    return stage.at(f"oc-{stage.box}") + target


def test_nobody_is_made_to_enter_as_somebody_else(stage: Stage) -> None:
    """Login CSRF on a sandbox host: a page sends the victim's browser to it with a ticket of Mallory's.

    Where browsers tell us of themselves; over plain HTTP and a domain they do not, which docs/threat-model.md says.
    """
    context = stage.context(stage.victim)
    page = stage.hostile(context, "foreign")
    _, target = ticket(stage, stage.mallory, stage.box, "next=" + quote(ATTACK, safe=""))
    page.goto(as_seen(stage, target))
    page.wait_for_function("document.title === 'hostile'")
    assert as_whom(stage, page) == (["victim"] if stage.trustworthy else ["mallory"])


def test_nor_by_a_ticket_that_was_made_for_another_browser(stage: Stage) -> None:
    """Mallory has her own browser marked, and sends the ticket that it got to the victim's."""
    context = stage.context(stage.victim)
    page = stage.hostile(context, "foreign")
    first = bring(stage.mallory, f"oc-{stage.box}.{stage.product.domain}", "/dump", SENT)
    query = urlsplit(first.header("location")).query
    if "browser=" not in query:  # her cookie of this host is still good
        stage.mallory.cookies[f"oc-{stage.box}.{stage.product.domain}"].clear()
        first = bring(stage.mallory, f"oc-{stage.box}.{stage.product.domain}", "/dump", SENT)
        query = urlsplit(first.header("location")).query
    _, target = ticket(stage, stage.mallory, stage.box, query)
    answer = page.goto(as_seen(stage, target))
    assert answer is not None
    assert answer.status == 403
    assert as_whom(stage, page) == []


@pytest.mark.parametrize("start", ["link", "host"])
def test_one_click_opens_a_sandbox(stage: Stage, start: str) -> None:
    """From the main page's link, or from the sandbox's own address; and signing in comes in between."""
    place = quote(ATTACK, safe="")
    url = (
        f"{stage.origin}/api/sandboxes/{stage.box}/open?next={place}"
        if start == "link"
        else stage.at(f"oc-{stage.box}") + ATTACK
    )
    page = stage.context(stage.victim).new_page()
    page.goto(url)
    assert page.title() == "hostile"
    assert as_whom(stage, page) == ["victim"]

    stranger = stage.context().new_page()
    stranger.goto(url)
    stranger.wait_for_url(lambda at: "/login" in at)
    stranger.get_by_label("User name").fill("victim")
    stranger.get_by_label("Password", exact=True).fill(PASSWORD)
    stranger.get_by_role("button", name="Sign in").click()
    stranger.wait_for_url(lambda at: urlsplit(at).path == "/attack")
    assert as_whom(stage, stranger) == ["victim"]


def test_many_tabs_open_at_once(stage: Stage) -> None:
    """A browser that comes back opens all its tabs in the same moment; each gets in."""
    context = stage.context(stage.victim)
    page = stage.hostile(context, "foreign")
    before = len(context.pages)
    urls = [stage.at(f"oc-{stage.box}") + ATTACK] * 6
    page.evaluate("urls => { for (const url of urls) window.open(url, '_blank', 'noopener'); }", urls)
    while len(context.pages) < before + len(urls):
        context.wait_for_event("page")
    for tab in context.pages[before:]:
        tab.wait_for_function("document.title === 'hostile'")
