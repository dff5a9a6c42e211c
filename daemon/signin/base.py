"""What the API knows of a provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from daemon.secret import Keyring
    from daemon.signin.profile import Profile, ProviderId


@dataclass(frozen=True, slots=True)
class Visit:
    """One person's way to the provider and back. ``state`` names it; the others follow from it and are never sent.

    ``nonce`` comes back in the ID token; ``verifier`` is PKCE's (RFC 7636).
    """

    redirect_uri: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


def visit(keyring: Keyring, provider: ProviderId, redirect_uri: str, state: str) -> Visit:
    """The visit that ``state`` names: with a key of this installation, so that nothing secret is kept meanwhile."""
    nonce = keyring.sign(f"sign-in nonce {provider}", state)
    # 64 characters of the 43 to 128 unreserved ones that RFC 7636, 4.1, asks for.
    verifier = keyring.sign(f"sign-in verifier {provider}", state)
    return Visit(redirect_uri, state, nonce, verifier)


class Provider(Protocol):
    """One way to sign in. Each method may ask the provider, and raises :class:`~daemon.signin.faults.ProviderDown`."""

    @property
    def id(self) -> ProviderId:
        """Its name in addresses."""
        ...

    @property
    def name(self) -> str:
        """Its name for people."""
        ...

    @property
    def issuer(self) -> str:
        """Whose word a subject is: identities of another one are another's."""
        ...

    async def authorization_url(self, visit: Visit) -> str:
        """Where the browser goes."""
        ...

    async def profile(self, visit: Visit, code: str, issuer: str | None) -> Profile:
        """Who came back with ``code``, and perhaps with the name of the ``issuer`` (RFC 9207).

        Raises :class:`~daemon.signin.faults.SignInRefused` too.
        """
        ...

    async def logout_url(self, back: str) -> str | None:
        """Where a browser signs out of the provider and comes ``back``; ``None`` where there is no such place."""
        ...
