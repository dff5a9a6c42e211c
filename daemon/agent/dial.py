"""Connects to the server: by TCP or through a proxy, with TLS where the server has it. Every step has its deadline."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

import h11
import trio

from daemon.agent.addresses import is_localhost
from daemon.agent.errors import Trouble, WrongSetting, shown
from daemon.agent.http import BadAnswer, ask
from daemon.wire.limits import CONNECT_SECONDS
from daemon.wire.sockets import SocketStream, TLSStream, connect_tcp, tls_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from daemon.agent.addresses import Server
    from daemon.agent.http import Answer
    from daemon.agent.proxies import Proxy
    from daemon.wire.sockets import Stream

# A proxy looks the name up, connects, and may ask a directory who we are before it answers.
PROXY_SECONDS: Final = 20.0
# Two round trips, and a busy server's signature.
TLS_SECONDS: Final = 15.0
# A server that is just starting, behind a load balancer that holds the request meanwhile.
ANSWER_SECONDS: Final = 30.0


def tls_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts what the system trusts, and what ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name. Raises WrongSetting.

    OpenSSL reads these variables too, but passes over a file that is not there, or holds no certificate.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    file, folder = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    if file:
        try:
            context.load_verify_locations(cafile=file)
        except ssl.SSLError:
            raise WrongSetting(f"SSL_CERT_FILE names {shown(file)}, which holds no certificates (PEM)") from None
        except OSError as error:
            raise WrongSetting(f"SSL_CERT_FILE names {shown(file)}, which cannot be read: {error.strerror}") from None
    for part in folder.split(os.pathsep) if folder else ():
        if not os.path.isdir(part):
            raise WrongSetting(f"SSL_CERT_DIR names {shown(part)}, which is no folder")
        context.load_verify_locations(capath=part)
    return context


class Dialer:
    """Connections to one server."""

    def __init__(self, server: Server, proxy: Proxy | None, context: ssl.SSLContext | None) -> None:
        self.server = server
        self._proxy = proxy
        self._context = context  # None for http

    async def ask(self, request: h11.Request, body: bytes = b"") -> Answer:
        """The answer to one request, on a connection of its own. Raises :class:`Trouble`."""
        answer, stream = await self.open(request, body)
        stream.close()
        return answer

    async def open(self, request: h11.Request, body: bytes = b"") -> tuple[Answer, Stream]:
        """The answer to one request, and the connection, which is the caller's. Raises :class:`Trouble`."""
        stream = await self.connect()
        try:
            with trio.fail_after(ANSWER_SECONDS):
                return await ask(stream, request, body), stream
        except trio.TooSlowError:
            stream.close()
            raise Trouble(f"{self.server.url} took the request and does not answer it") from None
        except (OSError, BadAnswer) as error:
            stream.close()
            raise Trouble(f"{self.server.url} broke off: {_words(error)}") from None
        except BaseException:
            stream.close()
            raise

    async def connect(self) -> Stream:
        """A new connection, which is the caller's. Raises :class:`Trouble`."""
        stream = await (self._direct() if self._proxy is None else self._through(self._proxy))
        if self._context is None:
            return stream
        return await self._encrypted(stream, self._context)

    async def _direct(self) -> SocketStream:
        server = self.server
        # Python's resolver does not know names below localhost; localhost itself may be either of two addresses.
        host = "127.0.0.1" if is_localhost(server.host) and server.host != "localhost" else server.host
        try:
            return await connect_tcp(host, server.port)
        except OSError as error:
            raise Trouble(f"cannot reach {server.url}: {_words(error)}") from None

    async def _through(self, proxy: Proxy) -> SocketStream:
        try:
            stream = await connect_tcp(proxy.host, proxy.port)
        except OSError as error:
            raise Trouble(f"cannot reach {proxy.name}: {_words(error)}") from None
        try:
            await self._ask_proxy(stream, proxy)
        except BaseException:
            stream.close()
            raise
        return stream

    async def _ask_proxy(self, stream: SocketStream, proxy: Proxy) -> None:
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        target = f"{host}:{self.server.port}".encode()
        headers = [(b"host", target)]
        if proxy.authorization is not None:
            headers.append((b"proxy-authorization", proxy.authorization))
        try:
            with trio.fail_after(PROXY_SECONDS):
                answer = await ask(stream, h11.Request(method="CONNECT", target=target, headers=headers))
        except trio.TooSlowError:
            raise Trouble(f"{proxy.name} does not answer") from None
        except (OSError, BadAnswer) as error:
            raise Trouble(f"{proxy.name} broke off: {_words(error)}") from None
        if answer.status == 407:
            raise Trouble(
                f"{proxy.name} wants another user and password; {proxy.variable} takes them: http://user:password@host"
            )
        if not 200 <= answer.status < 300:
            raise Trouble(f"{proxy.name} refuses to connect to {self.server.url} (status {answer.status})")
        if answer.early:
            raise Trouble(f"{proxy.name} sent something that is not the server's")

    async def _encrypted(self, stream: SocketStream, context: ssl.SSLContext) -> TLSStream:
        try:
            with trio.fail_after(TLS_SECONDS):
                return await tls_over(stream, self.server.host, context)
        except trio.TooSlowError:
            raise Trouble(f"{self.server.url} does not answer to TLS") from None
        except OSError as error:
            raise Trouble(_tls_words(error, self.server)) from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what is under it; of several, the first."""
    while error is not None:
        yield error
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__


def _words(error: BaseException) -> str:
    """What went wrong with a connection, in the system's words."""
    for found in reversed(list(_causes(error))):
        if isinstance(found, socket.gaierror):
            return "its name cannot be resolved; check the address and this machine's network"
        if isinstance(found, TimeoutError) and found.errno is None:
            return f"no answer within {CONNECT_SECONDS:g} s"
        if isinstance(found, OSError) and found.errno is not None:
            # Trio's own errors repeat the address in the place of the system's words; Windows has no words for numbers.
            return (os.strerror(found.errno) if os.name == "posix" else str(found.strerror)).lower()
    return shown(str(error)) or type(error).__name__


def _tls_words(error: OSError, server: Server) -> str:
    for found in _causes(error):
        if isinstance(found, ssl.SSLCertVerificationError):
            return (
                f"the certificate of {server.url} is not trusted: {shown(found.verify_message).rstrip('.')}; "
                "if the server has a private CA, set SSL_CERT_FILE to the file with its certificate"
            )
        if isinstance(found, ssl.SSLError):
            reason = (found.reason or "no TLS").replace("_", " ").lower()
            return f"{server.url} does not speak TLS as it should ({reason}); is it https, and is the port right?"
    return f"{server.url} broke off during the TLS handshake"
