"""``/.well-known/security.txt`` (RFC 9116): to whom somebody tells of a hole in this server."""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

PATH: Final = "/.well-known/security.txt"
# RFC 9116, 2.5.5, recommends less than a year. A server that has not been restarted for so long has not been updated
# either, and whoever reads the file is right to doubt it.
_GOOD_FOR: Final = timedelta(days=360)
# The parts of RFC 3986 that both kinds of address may have, without what would end the line.
_MAIL: Final = re.compile(r"mailto:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_PAGE: Final = re.compile(r"https://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]{1,5})?(?:[/?#][!-~]*)?")


def contact(text: str) -> str:
    """An address as the file has it: ``mailto:security@example.com`` or an https URL. RFC 9116 wants no http."""
    if _MAIL.fullmatch(text) or _PAGE.fullmatch(text):
        return text
    raise ValueError


def security_txt(contact: str, origin: str, started: datetime) -> str:
    """The file for the main site at ``origin``, as of a start at ``started``."""
    expires = (started + _GOOD_FOR).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [f"Contact: {contact}", f"Expires: {expires}", "Preferred-Languages: en"]
    if origin.startswith("https://"):  # RFC 9116, 2.5.2: of web addresses only such
        lines.append(f"Canonical: {origin}{PATH}")
    return "".join(f"{line}\n" for line in lines)
