"""A machine joins by what the dialog says, with the real agent; it is lost, and the page says so by itself."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.support.machine import machine
from tests.support.opencode_page import OPENCODE_MILLISECONDS
from tests.web.conftest import look

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.web.conftest import Person

AGENT_MILLISECONDS = 30_000  # its start, on a busy machine


def connect_command(page: Page) -> list[str]:
    """The words of the command that connects, as the dialog shows it."""
    commands = page.get_by_role("dialog").locator("pre").all_inner_texts()
    return shlex.split(commands[-1])


def test_a_machine_joins_and_is_lost(person: Callable[[str], Person], tmp_path: Path) -> None:
    ada = person("ada")
    page = ada.page(f"/w/{ada.workspace}/sandboxes")
    page.get_by_role("button", name="Connect").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Waiting for the machine")).to_be_visible()
    dialog.get_by_role("tab").last.click()
    program, *words = connect_command(page)
    assert program == "cli-server"
    look(page, "connect")
    with machine(tmp_path / "home") as laptop:
        laptop.agent([*words, "--name", "ada's laptop"])
        expect(dialog.get_by_text("is connected")).to_be_visible(timeout=OPENCODE_MILLISECONDS)
        expect(dialog.get_by_text("It was used.")).to_be_visible()
        look(page, "connect-arrived")
        with page.context.expect_page() as opened:
            dialog.get_by_role("link", name="Open ada's laptop").click()
        opened.value.wait_for_url("http://oc-*.localhost:*/**", timeout=OPENCODE_MILLISECONDS, wait_until="commit")
        opened.value.close()
        laptop.kill()
        expect(dialog.get_by_text("was connected and is offline now")).to_be_visible()
        page.keyboard.press("Escape")
        row = page.get_by_role("row").filter(has_text="ada's laptop")
        expect(row.locator('[data-status="offline"]')).to_be_visible()
        check_its_page(page)
        again = page.locator("pre").inner_text()
        laptop.clean_up()  # its opencode, too, which the agent left behind
        laptop.connect(*shlex.split(again)[3:])
        expect(page.locator('[data-status="running"]')).to_be_visible(timeout=AGENT_MILLISECONDS)
        look(page, "machine")


def check_its_page(page: Page) -> None:
    """What the machine said of itself, and how its agent is started again."""
    page.get_by_role("link", name="ada's laptop", exact=True).click()
    expect(page.get_by_text("The machine is not connected")).to_be_visible()
    for fact in ("Host name", "System", "Agent", "Last sign of life"):
        expect(page.get_by_role("term").filter(has_text=fact).first).to_be_visible()
    tabs = page.get_by_role("navigation", name="Sandbox", exact=True)
    tabs.get_by_role("link", name="Ports").click()
    expect(page.get_by_text("Ports of this machine are not carried")).to_be_visible()
    tabs.get_by_role("link", name="Logs").click()
    expect(page.get_by_text("The log of this machine is there")).to_be_visible()
    tabs.get_by_role("link", name="Overview").click()
    page.set_viewport_size({"width": 360, "height": 740})
    look(page, "machine-offline-phone")


def test_a_code_runs_out_and_another_is_made(person: Callable[[str], Person]) -> None:
    ada = person("ada")
    page = ada.page("/favicon.svg", width=360, height=740, scheme="dark")
    page.clock.install()
    page.goto(f"{ada.site.url}/w/{ada.workspace}/sandboxes")
    page.get_by_role("button", name="Connect").first.click()
    dialog = page.get_by_role("dialog")
    code = dialog.locator("code").first
    first = code.inner_text()
    # Of ten minutes some seconds are gone when it is looked at.
    expect(dialog.get_by_role("timer")).to_have_attribute("aria-label", re.compile(r"^The code works for 9:[45]\d$"))
    expect(dialog.get_by_role("button", name="New code")).to_have_count(0)
    look(page, "connect-phone")
    page.clock.fast_forward(601_000)
    dialog.get_by_role("button", name="New code").click()
    expect(code).not_to_have_text(first)
    second = code.inner_text()
    assert connect_command(page)[-1] == second
