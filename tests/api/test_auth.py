"""Register, sign in and out, sessions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import trio
from argon2 import PasswordHasher

from daemon.auth.passwords import Passwords
from tests.api.support import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Response

    from tests.api.support import Bench, Client

COOKIE = "cli_server_session"


async def code(response: Response) -> str:
    """The stable code of a problem."""
    body: dict[str, Any] = await response.get_json(force=True)
    found: str = body["code"]
    return found


async def together(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls at the same time; their results in order."""
    results: list[Any] = [None] * len(calls)

    async def run(index: int) -> None:
        results[index] = await calls[index]()

    async with trio.open_nursery() as nursery:
        for index in range(len(calls)):
            nursery.start_soon(run, index)
    return results


# Register


async def test_register(bench: Bench) -> None:
    alice = bench.client()
    wanted = {"username": "Alice.B-1_x", "password": PASSWORD, "email": " alice@example.com "}
    response = await alice.post("/api/auth/register", wanted)
    assert response.status_code == 201
    body = await response.get_json()
    assert body == {"id": body["id"], "username": "Alice.B-1_x", "email": "alice@example.com"}
    assert re.fullmatch(r"[a-z][a-z0-9]{15}", body["id"])
    me = await (await alice.get("/api/auth/me")).get_json()
    assert me == body | {"isAdmin": True}


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_foreign_posts(bench: Bench) -> None:
    response = await bench.client().post("/api/auth/register", {"username": "alice", "password": PASSWORD})
    lines = response.headers.getlist("Set-Cookie")
    session, device = lines
    assert re.fullmatch(rf"{COOKIE}=[\w-]{{43}}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax", session)
    assert re.fullmatch(r"cli_server_device=[\w.-]+; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax", device)


async def test_the_session_token_is_in_no_body(bench: Bench) -> None:
    """Lesson: the account's session token was put into JSON."""
    alice = await bench.person("alice")
    token = alice.cookies[COOKIE]
    for response in (
        await alice.login("alice"),
        await alice.get("/api/auth/me"),
        await alice.get("/api/auth/sessions"),
    ):
        text = await response.get_data(as_text=True)
        assert response.status_code == 200
        assert token not in text
        assert alice.cookies[COOKIE] not in text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": " alice"}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "-alice"}, "username"),
        ({"username": "alice."}, "username"),
        ({"username": "älice"}, "username"),
        ({"username": "a\x00b"}, "username"),
        ({"username": "a\n"}, "username"),
        ({"username": "a" * 41}, "username"),
        ({"password": ""}, "password"),
        ({"password": "seven77"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"password": "ü" * 513}, "password"),
        ({"password": "Password1"}, "password"),
        ({"password": "12345678"}, "password"),
        ({"password": "aaaaaaaaaaaa"}, "password"),
        ({"username": "alice-wonder", "password": "Alice-Wonder"}, "password"),
        ({"email": "nonsense"}, "email"),
        ({"email": "a@b@c"}, "email"),
        ({"email": "a b@example.com"}, "email"),
        ({"email": "a\x00@example.com"}, "email"),
        ({"email": "a@" + "b" * 300}, "email"),
    ],
)
async def test_weak_and_malformed_registrations(bench: Bench, changes: dict[str, str], field: str) -> None:
    wanted = {"username": "alice", "password": PASSWORD} | changes
    response = await bench.client().post("/api/auth/register", wanted)
    assert response.status_code == 422
    body = await response.get_json(force=True)
    assert [error["field"] for error in body["errors"]] == [field]
    assert bench.hasher.hashings == 0


@pytest.mark.parametrize("name", ["a", "7", "a" * 40, "a.b", "A_b-c.d"])
@pytest.mark.parametrize("email", [None, "", "x@y"])
async def test_good_names(bench: Bench, name: str, email: str | None) -> None:
    wanted = {"username": name, "password": "ünïcode pässword", "email": email}
    assert (await bench.client().post("/api/auth/register", wanted)).status_code == 201
    assert (await bench.client().login(name, "ünïcode pässword")).status_code == 200


async def test_names_are_taken_whatever_their_case(bench: Bench) -> None:
    """Lesson: a name collision answered 500 for ever."""
    await bench.person("alice")
    response = await bench.client().post("/api/auth/register", {"username": "ALICE", "password": PASSWORD})
    assert response.status_code == 409
    assert await code(response) == "username_taken"
    assert response.headers.getlist("Set-Cookie") == []
    both = await together(*(lambda: bench.client().post("/api/auth/register", _wanted("bob")) for _ in range(2)))
    assert sorted(response.status_code for response in both) == [201, 409]


def _wanted(username: str) -> dict[str, str]:
    return {"username": username, "password": PASSWORD}


async def test_only_the_very_first_is_admin(bench: Bench) -> None:
    people = [await bench.person(name) for name in ("alice", "bob")]
    admins = [(await (await person.get("/api/auth/me")).get_json())["isAdmin"] for person in people]
    assert admins == [True, False]


async def test_a_new_user_finds_a_workspace(bench: Bench) -> None:
    """What users ask for first: a first page that is not empty."""
    alice = await bench.person("alice")
    (workspace,) = await (await alice.get("/api/workspaces")).get_json()
    assert workspace["name"] == "alice's workspace"
    assert workspace["role"] == "owner"


async def test_closed_registration(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(registration="closed")
    response = await bench.client().post("/api/auth/register", _wanted("alice"))
    assert response.status_code == 403
    assert await code(response) == "registration_closed"
    assert bench.hasher.hashings == 0
    assert await bench.execute("SELECT * FROM users") == []


@pytest.mark.parametrize(
    ("policy", "before", "after", "word"),
    [("open", True, True, ""), ("first-user", True, False, "first user"), ("closed", False, False, "Nobody")],
)
async def test_whether_registration_is_possible(
    make_bench: Callable[..., Bench], policy: str, before: bool, after: bool, word: str
) -> None:
    """Before anybody fills in a form, and with the same reason that the form's refusal has."""
    bench = make_bench(registration=policy)

    async def asked() -> tuple[bool, bool, str | None]:
        response = await bench.client().get("/api/auth/registration")
        assert response.status_code == 200
        found = await response.get_json()
        return found["possible"], found["first"], found["reason"]

    assert (await asked())[:2] == (before, before), "who registers now is the first"
    await bench.execute("INSERT INTO users (id, username) VALUES ('u', 'first')")
    possible, first, reason = await asked()
    assert (possible, first) == (after, False)
    if possible:
        assert reason is None
        return
    assert word in (reason or "")
    response = await bench.client().post("/api/auth/register", {"username": "alice", "password": PASSWORD})
    assert response.status_code == 403
    assert (await response.get_json(force=True))["detail"] == reason


async def test_first_user_registration_is_open_once_even_in_a_race(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(registration="first-user")
    clients = [bench.client() for _ in range(4)]
    answers = await together(
        *(
            lambda client=client, name=f"user{number}": client.post("/api/auth/register", _wanted(name))
            for number, client in enumerate(clients)
        )
    )
    assert sorted(response.status_code for response in answers) == [201, 403, 403, 403]
    assert await bench.execute("SELECT is_admin FROM users") == [(True,)]
    response = await bench.client().post("/api/auth/register", _wanted("late"))
    assert response.status_code == 403


# Sign in


async def test_login(bench: Bench) -> None:
    alice = await bench.person("alice")
    elsewhere = bench.client()
    response = await elsewhere.login("Alice")
    assert response.status_code == 200
    assert await response.get_json() == alice.user
    assert (await elsewhere.get("/api/auth/me")).status_code == 200
    assert (await alice.get("/api/auth/me")).status_code == 200


async def test_unknown_users_and_wrong_passwords_are_answered_alike(bench: Bench) -> None:
    """Lesson: a login for an unknown user was faster. Counted in argon2 verifications, not by the clock."""
    await bench.person("alice")
    await bench.person("oidc-only")
    await bench.execute("UPDATE users SET password_hash = NULL WHERE username = 'oidc-only'")
    texts = set()
    for username in ("alice", "nobody", "oidc-only", "not a name", "\x00", "a" * 5000):
        before = bench.hasher.verifications
        response = await bench.client().login(username, "wrong password")
        assert bench.hasher.verifications == before + 1, username
        assert response.status_code == 401
        texts.add(await response.get_data(as_text=True))
    assert len(texts) == 1
    response = await bench.client().login("alice", "x" * 100_000)
    assert response.status_code == 401


async def test_the_dummy_hash_costs_what_a_real_one_does() -> None:
    hasher = PasswordHasher()
    passwords = Passwords(hasher)
    assert not (await passwords.verify(None, "")).right
    assert not hasher.check_needs_rehash(passwords._nobody)
    assert len(passwords._nobody) == len(hasher.hash("x"))


async def test_a_login_is_always_a_new_session(bench: Bench) -> None:
    """No fixation: what the browser had before is neither kept nor left alive."""
    alice = await bench.person("alice")
    before = alice.cookies[COOKIE]
    await alice.login("alice")
    assert alice.cookies[COOKIE] != before
    stale = bench.client()
    stale.cookies[COOKIE] = before
    assert (await stale.get("/api/auth/me")).status_code == 401
    planted = bench.client()
    planted.cookies[COOKIE] = "A" * 43
    await planted.login("alice")
    assert planted.cookies[COOKIE] != "A" * 43


async def test_a_disabled_user_is_out_at_once(bench: Bench) -> None:
    alice = await bench.person("alice")
    await bench.execute("UPDATE users SET disabled_at = now()")
    assert (await alice.get("/api/auth/me")).status_code == 401
    response = await bench.client().login("alice")
    assert response.status_code == 403
    assert await code(response) == "account_disabled"
    response = await bench.client().login("alice", "wrong password")
    assert response.status_code == 401


async def test_old_hashes_are_renewed(bench: Bench) -> None:
    await bench.person("alice")
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    await bench.execute("UPDATE users SET password_hash = %s", old)
    assert (await bench.client().login("alice")).status_code == 200
    ((new,),) = await bench.execute("SELECT password_hash FROM users")
    assert new != old
    assert not bench.hasher.check_needs_rehash(new)
    assert (await bench.client().login("alice")).status_code == 200


async def test_a_password_may_be_typed_on_another_keyboard(bench: Bench) -> None:
    composed, decomposed = "gr\u00fc\u00dfe aus k\u00f6ln", "gru\u0308\u00dfe aus ko\u0308ln"
    await bench.client().post("/api/auth/register", {"username": "alice", "password": composed})
    assert (await bench.client().login("alice", decomposed)).status_code == 200


async def test_a_damaged_hash_is_a_wrong_password(bench: Bench) -> None:
    await bench.person("alice")
    await bench.execute("UPDATE users SET password_hash = 'nonsense'")
    assert (await bench.client().login("alice")).status_code == 401


async def test_a_flood_of_passwords_is_put_off(make_bench: Callable[..., Bench]) -> None:
    """Argon2 takes 64 MiB each; the queue is bounded, and who finds it full is told when to come back."""
    bench = make_bench()
    full = make_bench(parts={"passwords": Passwords(bench.hasher, places=0)})
    await bench.person("alice")
    for response in (
        await full.client().login("alice"),
        await full.client().post("/api/auth/register", _wanted("bob")),
    ):
        assert response.status_code == 503
        assert await code(response) == "busy"
        assert int(response.headers["retry-after"]) > 0
    assert (await bench.execute("SELECT count(*) FROM login_failures"))[0][0] == 0
    places = Passwords(bench.hasher, places=1)
    with places.place():
        pass
    with places.place():
        pass


# Sessions


async def test_logout(bench: Bench) -> None:
    """Lesson: logout left the token working."""
    alice = await bench.person("alice")
    token = alice.cookies[COOKIE]
    response = await alice.post("/api/auth/logout")
    assert response.status_code == 204
    assert await response.get_data() == b""
    assert COOKIE not in alice.cookies
    assert "cli_server_device" in alice.cookies
    assert await bench.execute("SELECT * FROM sessions") == []
    alice.cookies[COOKIE] = token
    assert (await alice.get("/api/auth/me")).status_code == 401
    assert (await alice.post("/api/auth/logout")).status_code == 401


async def test_sessions_are_listed_and_revoked(bench: Bench) -> None:
    alice = await bench.person("alice")
    phone = bench.client("2001:db8::7")
    await phone.post("/api/auth/login", _wanted("alice"), headers={"User-Agent": "Phone\x1b[31m" + "x" * 300})
    sessions = await (await alice.get("/api/auth/sessions")).get_json()
    assert [(entry["current"], entry["ip"]) for entry in sessions] == [(False, "2001:db8::7"), (True, "192.0.2.1")]
    assert sessions[0]["userAgent"].startswith("Phone[31mx")
    assert len(sessions[0]["userAgent"]) == 200
    assert set(sessions[0]) == {"id", "createdAt", "lastSeenAt", "userAgent", "ip", "provider", "current"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", sessions[0]["createdAt"])
    assert (await alice.delete(f"/api/auth/sessions/{sessions[0]['id']}")).status_code == 204
    assert (await phone.get("/api/auth/me")).status_code == 401
    assert (await alice.delete(f"/api/auth/sessions/{sessions[0]['id']}")).status_code == 404
    assert (await alice.delete(f"/api/auth/sessions/{sessions[1]['id']}")).status_code == 204
    assert COOKIE not in alice.cookies


async def test_sessions_of_others_do_not_exist(bench: Bench) -> None:
    alice, mallory = await bench.person("alice"), await bench.person("mallory")
    (session,) = await (await alice.get("/api/auth/sessions")).get_json()
    texts = set()
    for wanted in (session["id"], "abcdefghij012345", "nonsense", "%00"):
        response = await mallory.delete(f"/api/auth/sessions/{wanted}")
        assert response.status_code == 404
        texts.add(await response.get_data(as_text=True))
    assert len(texts) == 1
    assert (await alice.get("/api/auth/me")).status_code == 200


async def test_a_session_is_renewed_by_use_but_not_written_each_time(bench: Bench) -> None:
    alice = await bench.person("alice")
    state = "SELECT last_seen_at, expires_at FROM sessions"
    fresh = await bench.execute(state)
    response = await alice.get("/api/auth/me")
    assert response.headers.getlist("Set-Cookie") == []
    assert await bench.execute(state) == fresh
    await bench.execute(
        "UPDATE sessions SET last_seen_at = now() - interval '61 min', expires_at = now() + interval '1 min'"
    )
    response = await alice.get("/api/auth/me")
    assert response.headers["Set-Cookie"].startswith(f"{COOKIE}={alice.cookies[COOKIE]}; Path=/; Max-Age=2592000;")
    left = await bench.execute(
        "SELECT expires_at > now() + interval '29 days', last_seen_at > now() - interval '1 min' FROM sessions"
    )
    assert left == [(True, True)]


async def test_a_renewed_cookie_does_not_undo_a_logout(bench: Bench) -> None:
    alice = await bench.person("alice")
    await bench.execute("UPDATE sessions SET last_seen_at = now() - interval '2 hours'")
    response = await alice.post("/api/auth/logout")
    assert len(response.headers.getlist("Set-Cookie")) == 1
    assert COOKIE not in alice.cookies


async def test_a_session_ends_by_itself(bench: Bench) -> None:
    alice = await bench.person("alice")
    await bench.execute("UPDATE sessions SET expires_at = now()")
    assert (await alice.get("/api/auth/me")).status_code == 401
    assert (await alice.post("/api/auth/logout")).status_code == 401
    await alice.login("alice")
    assert len(await (await alice.get("/api/auth/sessions")).get_json()) == 1


async def test_no_secret_is_in_the_database(bench: Bench) -> None:
    """Lesson: secrets in clear in the database. Every value of every table is looked at."""
    alice = await bench.person("alice")
    await alice.login("alice")
    await alice.login("alice", "another secret password")
    secrets = [PASSWORD, "another secret password", *alice.cookies.values()]
    tables = await bench.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert ("sessions",) in tables
    for (table,) in tables:
        for (row,) in await bench.execute(f"SELECT t::text FROM {table} t"):
            plain = bytes.fromhex("".join(re.findall(r"\\\\x([0-9a-f]+)", row))).decode("latin-1")
            for secret in secrets:
                assert secret not in row
                assert secret not in plain


async def test_providers(bench: Bench) -> None:
    response = await bench.client().get("/api/auth/oidc/providers")
    assert await response.get_json() == {"providers": []}


@pytest.mark.parametrize("path", ["/api/auth/me", "/api/auth/sessions", "/api/workspaces"])
async def test_head(bench: Bench, path: str) -> None:
    alice: Client = await bench.person("alice")
    assert (await alice.request("HEAD", path)).status_code == 200
    assert (await bench.client().request("HEAD", path)).status_code == 401
