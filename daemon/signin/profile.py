"""What a provider says of a person, and what follows from it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from daemon.auth.rules import MAX_USERNAME, email_fault, is_username

if TYPE_CHECKING:
    from collections.abc import Iterator

ProviderId = Literal["github", "oidc"]
PROVIDER_IDS: Final[tuple[str, ...]] = get_args(ProviderId)

MAX_SUBJECT: Final = 255  # OpenID Connect Core, 2: "MUST NOT exceed 255 ASCII characters"
_MAX_TEXT: Final = 200  # of a name that a provider gives; it is shown, nothing more
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_EDGES: Final = "._-"
_NUMBERED: Final = 100  # names with a number that are tried; the hundred-and-first namesake gets a random one


@dataclass(frozen=True, slots=True)
class Profile:
    """A person as a provider knows them. ``email`` is believed only with ``email_verified``.

    ``is_admin`` is ``None`` where the provider does not decide it. ``in_organisation``: of GITHUB_ALLOWED_ORGS.
    """

    provider: ProviderId
    issuer: str
    subject: str
    username: str | None
    email: str | None
    email_verified: bool
    is_admin: bool | None = None
    in_organisation: bool = False

    @property
    def verified_email(self) -> str | None:
        """The e-mail address, if the provider says that it is the person's."""
        return self.email if self.email_verified else None


def plain_text(value: object) -> str | None:
    """A text of the provider's for people to see: one line, printable and cut; ``None`` for anything else."""
    if not isinstance(value, str):
        return None
    return "".join(char for char in value if char.isprintable()).strip()[:_MAX_TEXT] or None


def plain_email(value: object) -> str | None:
    """An e-mail address of the provider's, if it looks like one."""
    good = isinstance(value, str) and value.isprintable() and email_fault(value) is None and not _poses(value)
    return value if good and isinstance(value, str) else None


def _poses(email: str) -> bool:
    """Whether a character is another one's, of ASCII, in lower case: the Kelvin sign is "k" then, and no mailbox's."""
    return any(any(low.isascii() for low in char.lower()) for char in email if not char.isascii())


def allowed_domain(profile: Profile, domains: tuple[str, ...]) -> bool:
    """Whether the person comes from one of ``domains``, by a verified address; no domains let everybody in."""
    if not domains:
        return True
    email = profile.verified_email
    return email is not None and email.rpartition("@")[2].lower() in domains


def usernames(profile: Profile, unused: str) -> Iterator[str]:
    """User names for a new account, the best first; ``unused`` is what nobody has, for the last."""
    base = _base(profile)
    yield base
    for number in range(2, _NUMBERED + 1):
        yield _with(base, str(number))
    yield _with(base, unused)


def _base(profile: Profile) -> str:
    email = profile.email or ""
    # A provider's user name may be an e-mail address, of which only the front is a name.
    for text in (profile.username or "", email):
        name = _NO_NAME.sub("-", text.partition("@")[0])[:MAX_USERNAME].strip(_EDGES)
        if is_username(name):
            return name
    return "user"


def _with(base: str, suffix: str) -> str:
    return f"{base[: MAX_USERNAME - len(suffix) - 1].rstrip(_EDGES)}-{suffix}"
