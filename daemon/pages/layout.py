"""The HTML around a page: complete in itself, no script, nothing from elsewhere, and a policy that says so."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.pages.states import Icon

# Without its comments, which would only be carried along.
_TOKENS: Final = re.sub(
    r"/\*.*?\*/\s*", "", Path(__file__).with_name("tokens.css").read_text(encoding="utf-8"), flags=re.DOTALL
)
STYLE: Final = (
    "\n"
    + _TOKENS
    + """\
*{box-sizing:border-box}
body{margin:0;min-height:100vh;background:var(--bg);color:var(--text);font:14px/20px var(--font)}
header{display:flex;align-items:center;height:48px;padding:0 16px;
background:var(--surface);border-bottom:1px solid var(--line)}
.mark{display:inline-flex;align-items:center;gap:8px;min-height:32px;border-radius:var(--radius-small);
color:var(--text);font-weight:600;text-decoration:none}
.mark svg{width:20px;height:20px;flex:none}
.mark rect{fill:var(--accent)}
.mark path{stroke:var(--accent-text)}
main{width:calc(100% - 32px);max-width:520px;margin:clamp(16px,12vh,128px) auto 32px;padding:24px;
background:var(--surface);border:1px solid var(--line);border-radius:var(--radius)}
h1{margin:8px 0 0;font-size:20px;line-height:28px;font-weight:600;overflow-wrap:anywhere}
p{margin:8px 0 0;overflow-wrap:anywhere}
pre{margin:16px 0;padding:8px 12px;border:1px solid var(--line);border-radius:var(--radius-small);background:var(--bg);
font:12px/20px var(--mono);white-space:pre-wrap;overflow-wrap:anywhere;max-height:40vh;overflow:auto}
.state{display:flex;align-items:center;gap:8px;margin:0;font-weight:600}
.state svg{width:16px;height:16px;flex:none}
.wait{color:var(--wait)}.pause,.away,.search{color:var(--idle)}.stop{color:var(--bad)}.lock{color:var(--warn)}
.quiet{color:var(--quiet);font-variant-numeric:tabular-nums}
.actions{display:flex;flex-wrap:wrap;gap:8px;margin-top:24px}
.button{display:inline-flex;align-items:center;justify-content:center;min-height:32px;padding:0 12px;
border:1px solid var(--line-strong);border-radius:var(--radius-small);background:var(--surface);color:var(--text);
font-weight:500;text-decoration:none}
.button:hover{background:var(--accent-soft)}
.first{border-color:var(--accent);background:var(--accent);color:var(--accent-text)}
.first:hover{background:var(--accent);text-decoration:underline}
:focus-visible{outline:2px solid var(--focus);outline-offset:2px}
@media(pointer:coarse),(max-width:479px){.button{min-height:44px;padding:0 16px}}
@media(max-width:479px){main{margin-top:16px;padding:16px}}
"""
)

# Shapes that differ without their colours.
_ICONS: Final[dict[Icon, str]] = {
    "wait": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="28 10"/>',
    "pause": '<path d="M4 3h3v10H4zM9 3h3v10H9z"/>',
    "away": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2"/>',
    "stop": '<path d="M8 1l7 13H1zM7 6v4h2V6zM7 11v2h2v-2z" fill-rule="evenodd"/>',
    "lock": '<path d="M4 7V5a4 4 0 0 1 8 0v2h1v8H3V7zm2 0h4V5a2 2 0 0 0-4 0z" fill-rule="evenodd"/>',
    "search": '<path d="M7 2a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10l4 4" fill="none" '
    'stroke="currentColor" stroke-width="2"/>',
}  # fmt: skip

# The product's mark, the same as the web UI's icon; its colours are those of the scheme.
_MARK: Final = (
    '<svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7"/><path d="M8 10l6 6-6 6M16 22h8" '
    'fill="none" stroke-width="3" stroke-linecap="round" stroke-linejoin="round"/></svg>'
)

# "//host" and "/\\host" lead to another host (WHATWG URL, "relative slash state").
_HARMLESS: Final = re.compile(r"https?://|/(?![/\\])|\?")
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'",
        "img-src data:",  # the empty icon, so that the browser does not ask the sandbox for one
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", _POLICY.encode()),
)


@dataclass(frozen=True, slots=True)
class Link:
    """A way on, as a button. ``url`` is an http or https one, or a path or query on this very host."""

    label: str
    url: str
    first: bool = False  # what most people want here

    def html(self) -> str:
        """The link; nothing where its address could run a script or leave this host without naming another."""
        if not _HARMLESS.match(self.url):
            return ""
        kind = "button first" if self.first else "button"
        return f'<a class="{kind}" href="{escape(self.url)}">{escape(self.label)}</a>'


@dataclass(frozen=True, slots=True)
class Content:
    """What stands on a page, as plain text; ``quote`` is preformatted. ``home``: where the product's mark leads."""

    title: str
    word: str
    icon: Icon
    text: str
    quiet: str = ""
    quote: str = ""
    links: Sequence[Link] = ()
    home: str = "/"


def html(content: Content) -> bytes:
    """The whole document."""
    title = escape(content.title)
    home = f' href="{escape(content.home)}"' if _HARMLESS.match(content.home) else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f'<title>{title} · cli-server</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f'<body><header><a class="mark"{home}>{_MARK}cli-server</a></header>'
        f"<main>{_body(content)}</main></body></html>\n"
    ).encode()


def _body(content: Content) -> str:
    links = "".join(link.html() for link in content.links)
    return "".join(
        (
            f'<p class="state {content.icon}"><svg viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">'
            f"{_ICONS[content.icon]}</svg>{escape(content.word)}</p>",
            f'<h1 dir="auto">{escape(content.title)}</h1>',
            # In the order of the Tab key, so that a long one can be scrolled without a mouse.
            f'<pre dir="auto" tabindex="0">{escape(content.quote)}</pre>' if content.quote else "",
            f"<p>{escape(content.text)}</p>",
            f'<p class="quiet">{escape(content.quiet)}</p>' if content.quiet else "",
            f'<p class="actions">{links}</p>' if links else "",
        )
    )
