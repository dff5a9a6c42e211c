"""How long something that people make is good for: given as ``7d`` or in seconds, within bounds."""

from __future__ import annotations

from daemon import values
from daemon.api.problems import invalid


def lifetime(field: str, text: str, least: float, most: float) -> float:
    """Seconds; raises the 422 for ``field``."""
    try:
        seconds = values.duration(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= most:
        bounds = f"from {values.duration_text(least)} to {most / 86400:g}d"
        raise invalid((field, f"must be a time such as 90m, 12h or 7d, {bounds}"))
    return seconds
