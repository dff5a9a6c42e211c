"""The doctor: each check says yes and no, with what to do; none hangs, none shows a secret, none changes anything."""

from __future__ import annotations

import json
import os
import socket
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING

import h11
import psycopg
import pytest
import trio

from daemon import checks
from daemon.api import site
from daemon.api.webroot import Webroot
from daemon.config import Settings, load
from daemon.datadir import lock_data_dir
from daemon.db.migrate import available
from daemon.doctor import Check, CheckFailed, Context, Finding, examine
from daemon.signin_checks import check_sign_in
from tests.standins.github import GithubStandIn
from tests.standins.lying_issuer import LyingIssuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

KEY = "sk-ant-hunter2"


def _context(tmp_path: Path, **given: str) -> Context:
    return Context(load({"DATA_DIR": str(tmp_path / "data"), "LISTEN": "127.0.0.1:0"} | given))


@asynccontextmanager
async def _http(answer: Callable[[h11.Request], tuple[int, dict[str, str], bytes]]) -> AsyncIterator[int]:
    """A small server on this machine; yields its port."""

    async def serve(stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                    continue
                if not isinstance(event, h11.Request):
                    return
                status, headers, body = answer(event)
                head = h11.Response(status_code=status, headers=[*headers.items(), ("connection", "close")])
                data = [connection.send(part) for part in (head, h11.Data(body), h11.EndOfMessage())]
                await stream.send_all(b"".join(piece or b"" for piece in data))
                return

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def _constant(
    status: int, body: object = "", **headers: str
) -> Callable[[h11.Request], tuple[int, dict[str, str], bytes]]:
    return lambda request: (status, headers, json.dumps(body).encode())


async def _ok(context: Context) -> Finding:
    return Finding("fine")


async def _hanging(context: Context) -> Finding:
    await trio.sleep_forever()
    raise AssertionError


async def _failing(context: Context) -> Finding:
    raise CheckFailed("it is\nbroken", "mend it")


async def _surprising(context: Context) -> Finding:
    raise ValueError("what")


async def test_one_line_for_each_check_and_the_verdict(tmp_path: Path) -> None:
    said: list[str] = []
    suite = [Check("a", _ok), Check("b", _failing), Check("c", _hanging, 0.01), Check("d", _surprising)]
    assert not await examine(_context(tmp_path), suite, said.append)
    assert said == [
        "ok    a: fine",
        "FAIL  b: it is broken → mend it",
        "FAIL  c: no answer in 0.01 s → see why it hangs",
        "FAIL  d: ValueError: what → this is not foreseen; run it again with --log-level debug",
        "4 checks, 3 failed",
    ]
    assert await examine(_context(tmp_path), [Check("a", _ok)], said.append)
    assert said[-1] == "1 checks, none failed"


async def _fails(check: Callable[[Context], Awaitable[Finding]], context: Context, *words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        await check(context)
    assert caught.value.remedy
    text = f"{caught.value.detail} → {caught.value.remedy}"
    for word in words:
        assert word in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({}, "ok"),
        ({"BASE_DOMAIN": "a.example"}, "ok"),
        ({"BASE_DOMAIN": "a.example", "BASE_SCHEME": "http"}, "warn"),
        ({"GITHUB_CLIENT_ID": "i", "GITHUB_CLIENT_SECRET": "s"}, "ok"),
    ],
)
async def test_settings(tmp_path: Path, given: dict[str, str], verdict: str) -> None:
    assert (await checks.check_settings(_context(tmp_path, **given))).verdict == verdict


@pytest.mark.parametrize("given", [{}, {"BASE_DOMAIN": "a.example"}])
async def test_sign_in_with_passwords_only(tmp_path: Path, given: dict[str, str]) -> None:
    assert (await check_sign_in(_context(tmp_path, **given))).detail == "with passwords only"


async def test_sign_in_with_providers(tmp_path: Path) -> None:
    with LyingIssuer().running() as issuer, GithubStandIn().running() as github:
        given = {**issuer.settings(), **github.settings(), "LISTEN": "127.0.0.1:8080"}
        finding = await check_sign_in(_context(tmp_path, **given))
        assert finding.verdict == "ok"
        for words in (
            f"OIDC: {issuer.url}, 1 keys",
            f"GitHub: {github.url}",
            "callback http://localhost:8080/api/auth/oidc/oidc/callback",
            "callback http://localhost:8080/api/auth/oidc/github/callback",
        ):
            assert words in finding.detail
        moved = given | {"OIDC_REDIRECT_BASE_URL": "https://elsewhere.example"}
        finding = await check_sign_in(_context(tmp_path, **moved))
        assert (finding.verdict, "the host of the main site" in finding.remedy) == ("warn", True)
        plain = given | {"BASE_DOMAIN": "a.example", "OIDC_REDIRECT_BASE_URL": "http://a.example"}
        assert (await check_sign_in(_context(tmp_path, **plain))).verdict == "warn"
        issuer.lies.metadata = {"issuer": "https://other.example"}
        await _fails(check_sign_in, _context(tmp_path, **given), "another issuer", "OIDC_ISSUER_URL")
        issuer.stop()
        await _fails(check_sign_in, _context(tmp_path, **given), issuer.url, "check OIDC_ISSUER_URL")
        github.stop()
        await _fails(check_sign_in, _context(tmp_path, **github.settings()), github.url, "GITHUB_API_URL")


async def test_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = _context(tmp_path)
    assert "made at the first start" in (await checks.check_data_dir(context)).detail
    assert not (tmp_path / "data").exists(), "the doctor makes nothing"
    (tmp_path / "data").mkdir()
    assert (await checks.check_data_dir(context)).detail.startswith(str(tmp_path / "data"))
    assert context.daemon_pid is None
    with lock_data_dir(tmp_path / "data"):
        await checks.check_data_dir(context)
        assert context.daemon_pid == os.getpid()
    monkeypatch.setattr(checks, "LEAST_SPACE", 2**60)
    await _fails(checks.check_data_dir, context, "GiB free", "make room")


async def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    await _fails(checks.check_data_dir, _context(tmp_path), "cannot be written", "DATA_DIR")


@pytest.mark.needs("postgres")
async def test_database(tmp_path: Path, database_url: str, empty_database_url: str) -> None:
    context = _context(tmp_path, DATABASE_URL=database_url)
    finding = await checks.check_database(context)
    assert (finding.verdict, f"schema {max(available())}" in finding.detail) == ("ok", True)
    assert abs(context.skews["the database"]) < 1
    assert "no schema yet" in (await checks.check_database(_context(tmp_path, DATABASE_URL=empty_database_url))).detail
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO schema_migrations (name) VALUES ('9999_future')")
    await _fails(checks.check_database, context, "newer", "9999_future")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("DELETE FROM schema_migrations")
    assert f"{len(available())} migrations to come" in (await checks.check_database(context)).detail


async def test_a_database_that_is_away(tmp_path: Path) -> None:
    context = _context(tmp_path, DATABASE_URL="postgresql://user:hunter2@127.0.0.1:1/x")
    await _fails(checks.check_database, context, "cannot connect", "DATABASE_URL")


@pytest.mark.needs("postgres")
async def test_the_embedded_database(tmp_path: Path) -> None:
    context = _context(tmp_path)
    assert "made at the first start" in (await checks.check_database(context)).detail
    assert not (tmp_path / "data").exists()
    with lock_data_dir(tmp_path / "data"):
        await checks.check_data_dir(context)
        detail = (await checks.check_database(context)).detail
    assert "in use by the daemon that runs" in detail
    (tmp_path / "data" / "postgres").mkdir()
    (tmp_path / "data" / "postgres" / "PG_VERSION").write_text("9\n")
    await _fails(checks.check_database, _context(tmp_path), "PostgreSQL 9")


@pytest.mark.needs("opencode")
async def test_backend_and_opencode(tmp_path: Path, opencode_program: Path) -> None:
    context = _context(tmp_path, OPENCODE_BIN=str(opencode_program))
    assert (await checks.check_backend(context)).verdict in ("ok", "warn")
    assert str(opencode_program) in (await checks.check_opencode(context)).detail


async def test_no_opencode(tmp_path: Path) -> None:
    context = _context(tmp_path, OPENCODE_BIN=str(tmp_path / "opencode"))
    await _fails(checks.check_opencode, context, "OPENCODE_BIN")
    await _fails(checks.check_backend, context, "OPENCODE_BIN")


async def test_an_opencode_that_breaks_and_sees_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "opencode"
    program.write_text("#!/bin/sh\necho key=$ANTHROPIC_API_KEY.\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    context = _context(tmp_path, OPENCODE_BIN=str(program))
    await _fails(checks.check_opencode, context, "ended with 3: key=.")


async def test_wildcard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "localhost" in (await checks.check_wildcard(_context(tmp_path))).detail
    asked: list[str] = []

    async def getaddrinfo(host: str, port: object, **kwargs: object) -> list[tuple[object, ...]]:
        asked.append(host)
        if host.endswith("good.example"):
            return [(2, 1, 6, "", ("192.0.2.7", 0))]
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    assert "192.0.2.7" in (await checks.check_wildcard(_context(tmp_path, BASE_DOMAIN="good.example"))).detail
    await _fails(checks.check_wildcard, _context(tmp_path, BASE_DOMAIN="bad.example"), "*.bad.example", "not known")
    assert len(set(asked)) == 2
    assert all(name.startswith("oc-") for name in asked)


def _listening_at(settings: Settings, port: int) -> Context:
    return Context(load({"DATA_DIR": str(settings.data_dir), "LISTEN": f"127.0.0.1:{port}"}))


async def test_listener(tmp_path: Path) -> None:
    context = _context(tmp_path)
    assert "is free" in (await checks.check_listener(context)).detail
    async with _http(_constant(404)) as port:
        await _fails(checks.check_listener, _listening_at(context.settings, port), "another program", "LISTEN")
    async with _http(_constant(503, {"parts": {}, "services": {}})) as port:
        finding = await checks.check_listener(_listening_at(context.settings, port))
        assert "by a cli-server" in finding.detail
    await _fails(checks.check_listener, _context(tmp_path, LISTEN="192.0.2.1:80"), "192.0.2.1:80", "LISTEN")


@pytest.mark.parametrize(
    ("status", "expected"), [(200, "ok"), (401, "refuses"), (403, "refuses"), (404, "warn"), (500, "500"), (302, "302")]
)
async def test_llm_credentials(tmp_path: Path, status: int, expected: str) -> None:
    seen: list[h11.Request] = []

    def answer(request: h11.Request) -> tuple[int, dict[str, str], bytes]:
        seen.append(request)
        return status, {"location": "http://elsewhere.test/", "date": formatdate()}, b"{}"

    async with _http(answer) as port:
        context = _context(tmp_path, ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}/path")
        if expected in ("ok", "warn"):
            assert (await checks.check_llm(context)).verdict == expected
        else:
            await _fails(checks.check_llm, context, expected)
    (request,) = seen
    assert request.target == b"/path/v1/models"
    assert dict(request.headers)[b"x-api-key"] == KEY.encode()
    assert abs(context.skews["the Anthropic API"]) < 3


async def test_llm_credentials_that_are_missing_or_lead_nowhere(tmp_path: Path) -> None:
    await _fails(checks.check_llm, _context(tmp_path), "none are set", "ANTHROPIC_API_KEY")
    away = _context(tmp_path, ANTHROPIC_AUTH_TOKEN=KEY, ANTHROPIC_BASE_URL="http://127.0.0.1:1")
    await _fails(checks.check_llm, away, "does not answer", "ANTHROPIC_BASE_URL")


async def test_web_ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "webroot"
    monkeypatch.setattr(site, "WEBROOT", Webroot(root))
    finding = await checks.check_web_ui(_context(tmp_path))
    assert (finding.verdict, finding.remedy) == ("warn", "make webui")
    root.mkdir()
    (root / "index.html").write_text("<!doctype html>")
    assert (await checks.check_web_ui(_context(tmp_path))).verdict == "ok"


async def test_clock(tmp_path: Path) -> None:
    context = _context(tmp_path)
    assert (await checks.check_clock(context)).verdict == "warn"
    context.skews = {"the database": 1.0}
    assert (await checks.check_clock(context)).verdict == "ok"
    context.skews = {"the database": 0.0, "the Anthropic API": -30.0}
    await _fails(checks.check_clock, context, "-30.0 s", "NTP")
