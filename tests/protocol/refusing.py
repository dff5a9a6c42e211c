"""What a test says of a peer that breaks a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable


def refused(because: str, call: Callable[..., object], /, *given: Any, **named: Any) -> None:
    """``call`` says that the peer broke the rule of this code."""
    with pytest.raises(RemoteProtocolError) as caught:
        call(*given, **named)
    assert caught.value.code == because
