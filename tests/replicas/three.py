"""Three daemons in processes of their own, one PostgreSQL, and a load balancer in front of them."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tests.standins.round_robin import RoundRobin
from tests.support.product import Product, free_port
from tests.support.visitor import Visitor
from tests.tunnel.browser import Browser
from tests.tunnel.harness import Joined, Team

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK: Final = ("-m", "tests.replicas.quick")


@dataclass
class Three(Team):
    """What is seen through the balancer, and each replica by itself."""

    replicas: list[Product]
    balancer: RoundRobin
    database_url: str

    def rows(self, query: str, *args: object) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            return conn.execute(query.encode(), args or None).fetchall()

    def holder(self, sandbox_id: str) -> Product:
        """The replica that holds the tunnel of a machine."""
        query = "SELECT r.url FROM sandboxes b JOIN replicas r ON r.id = b.tunnel_replica WHERE b.id = %s"
        ((url,),) = self.rows(query, sandbox_id)
        return next(one for one in self.replicas if one.env["REPLICA_URL"] == url)

    def others(self, sandbox_id: str) -> list[Product]:
        """Those that do not."""
        holder = self.holder(sandbox_id)
        return [one for one in self.replicas if one is not holder]

    def at(self, replica: Product, browser: Browser) -> Browser:
        """The same browser, at one replica."""
        return Browser(replica.port, browser.host, browser.cookie)

    def changes(self, sandbox_id: str) -> list[tuple[Any, ...]]:
        """The events of a sandbox."""
        return self.rows("SELECT id, kind FROM events WHERE sandbox_id = %s ORDER BY id", sandbox_id)


def replica(folder: Path, database_url: str, key: Path, public_port: int, **env: str) -> Product:
    """One of them, not started."""
    folder.mkdir()
    listen = f"127.0.0.1:{free_port()}"
    given = {
        "DATABASE_URL": database_url,
        "SECRET_KEY_FILE": str(key),
        "REPLICA_LISTEN": listen,
        "REPLICA_URL": f"http://{listen}",
        "PUBLIC_PORT": str(public_port),
        "ANTHROPIC_PROXY_URL": f"http://127.0.0.1:{public_port}/proxy/anthropic",
        "BACKEND": "docker",
        **env,
    }
    return Product(folder, given, program=QUICK)


def _end_all(made: list[Product]) -> None:
    """All at once; the second signal, when each is closed, does not wait."""
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.process.terminate()


@contextmanager
def three(folder: Path, database_url: str, public: int | None = None, /, **env: str) -> Iterator[Three]:
    """Up and ready, with one registered user. ``public``: the balancer's port."""
    folder.mkdir(exist_ok=True)
    key = folder / "installation.key"
    key.write_bytes(secrets.token_bytes(32))
    public = public or free_port()
    with ExitStack() as stack:
        made = [replica(folder / str(number), database_url, key, public, **env) for number in range(3)]
        for one in made:
            stack.callback(one.close)
            one.start(ready=False)
        stack.callback(_end_all, made)
        for one in made:
            one.wait_ready()
        balancer = stack.enter_context(RoundRobin(public, [one.port for one in made]).running())
        visitor = Visitor(public, secrets=made[0].secrets)
        yield Three(visitor, visitor.register(), made, balancer, database_url)


@dataclass
class Elsewhere(Team):
    """Agents connect to the first replica; everybody else is led to the second."""

    three: Three

    async def join(self, name: str = "laptop") -> Joined:
        """Register a machine, whose agent will be at the first."""
        joined = await super().join(name)
        return Joined(joined.sandbox_id, joined.token, f"http://127.0.0.1:{self.three.replicas[0].port}")

    async def browser(self, sandbox_id: str) -> Browser:
        """One that has opened the sandbox, and is led to the second."""
        assert self.three.holder(sandbox_id) is self.three.replicas[0]
        return await super().browser(sandbox_id)
