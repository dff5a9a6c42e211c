"""What can go wrong with a provider when somebody signs in or out: words for pages, and the errors that carry them."""

from __future__ import annotations

from typing import Final, Literal, get_args

# Stable words: they stand in the address of the page that a person is sent to, which has the sentences.
SignInFault = Literal[
    "expired",  # the sign-in took too long, or its answer came a second time
    "other_browser",  # it was begun in another browser
    "denied",  # the person said no at the provider
    "provider_refused",  # the provider said no: it does not know this server, or the code
    "bad_answer",  # what the provider said of the person cannot be believed
    "clock",  # … because its clock and ours differ
    "email_taken",  # an account here has the e-mail address: sign in with its password, then link
    "domain_not_allowed",
    "organisation_required",
    "registration_closed",
    "account_disabled",
    "identity_taken",  # to be linked, and somebody else's here
    "signed_out",  # to be linked, and whoever began it is not signed in any more
    "invitation_not_found",
    "too_many_attempts",
    "no_sign_out",  # of the provider, which has no place for that, or does not answer
]
FAULTS: Final[tuple[str, ...]] = get_args(SignInFault)


class SignInRefused(Exception):
    """Nobody is signed in. ``reason`` is for the log and the operator: no secret, and no text of the provider's."""

    def __init__(self, fault: SignInFault, reason: str) -> None:
        super().__init__(f"{fault}: {reason}")
        self.fault: SignInFault = fault
        self.reason = reason


class ProviderDown(Exception):
    """The provider does not answer, or not with what it should. The text is for the log."""
