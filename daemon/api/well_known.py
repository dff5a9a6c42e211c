"""What stands at addresses that RFC 8615 gives to everybody."""

from __future__ import annotations

from typing import Final

from quart import Blueprint, Response
from quart_schema import hide

from daemon.api.parts import parts
from daemon.api.problems import Problem
from daemon.security_txt import PATH, security_txt

blueprint = Blueprint("well_known", __name__)

_UNSET: Final = (
    "Whoever runs this server has not said to whom security problems are told. They can: the setting SECURITY_CONTACT, "
    "with mailto: and an address, or an https URL. Problems of the software itself go to its project: SECURITY.md."
)


@blueprint.get(PATH)
@hide
async def get_security_txt() -> Response:
    """To whom a hole in this server is told."""
    settings = parts().settings
    if settings.security_contact is None:
        raise Problem(404, "no_security_contact", _UNSET, headers={"Cache-Control": "no-store"})
    text = security_txt(settings.security_contact, settings.main_origin, parts().started)
    return Response(text, 200, {"Cache-Control": "no-cache"}, content_type="text/plain; charset=utf-8")
