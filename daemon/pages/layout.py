"""The HTML around a page: complete in itself, no script, nothing from elsewhere, and a policy that says so."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.pages.states import Icon

# Contrast on the card, by WCAG 2's formula: text at least 12:1, quiet text and links at least 5:1, in both schemes.
STYLE: Final = """
:root{color-scheme:light dark;--bg:#f4f5f7;--card:#fff;--line:#d6d9de;--text:#1c1f24;--quiet:#5a616b;
--accent:#1f5fbf;--on:#fff;--wait:#1f5fbf;--pause:#5a616b;--away:#5a616b;--stop:#b3261e;--lock:#8a5300;--search:#5a616b}
@media(prefers-color-scheme:dark){:root{--bg:#121417;--card:#1b1e23;--line:#343a43;--text:#e8eaed;--quiet:#a3abb6;
--accent:#8ab4f8;--on:#10131a;--wait:#8ab4f8;--pause:#a3abb6;--away:#a3abb6;--stop:#f2938c;--lock:#e0b060;--search:#a3abb6}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:flex;flex-direction:column;align-items:center;justify-content:center;padding:16px;
background:var(--bg);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:520px;padding:24px;background:var(--card);border:1px solid var(--line);border-radius:8px}
h1{margin:8px 0;font-size:22px;line-height:1.3;font-weight:600;overflow-wrap:anywhere}
p{margin:8px 0;overflow-wrap:anywhere}
pre{margin:16px 0 8px;padding:12px;border:1px solid var(--line);border-radius:6px;background:var(--bg);
font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere;
max-height:40vh;overflow:auto}
.state{display:flex;align-items:center;gap:8px;margin:0;font-size:14px;font-weight:600}
.state svg{width:16px;height:16px;flex:none}
.wait{color:var(--wait)}.pause{color:var(--pause)}.away{color:var(--away)}
.stop{color:var(--stop)}.lock{color:var(--lock)}.search{color:var(--search)}
.quiet{color:var(--quiet);font-size:14px;font-variant-numeric:tabular-nums}
.actions{display:flex;flex-wrap:wrap;gap:8px 16px;align-items:center;margin-top:20px}
a{color:var(--accent)}
a:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.button{display:inline-flex;align-items:center;min-height:44px;padding:0 20px;border-radius:6px;
background:var(--accent);color:var(--on);font-weight:600;text-decoration:none}
.bar{height:4px;margin:16px 0;border-radius:2px;background:var(--line);overflow:hidden}
.bar i{display:block;width:30%;height:100%;border-radius:2px;background:var(--accent);
animation:run 1.6s linear infinite}
@keyframes run{from{transform:translateX(-100%)}to{transform:translateX(340%)}}
@media(prefers-reduced-motion:reduce){.bar i{width:100%;animation:none;opacity:.5}}
footer{margin-top:16px;color:var(--quiet);font-size:13px}
"""

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
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


@dataclass(frozen=True, slots=True)
class Link:
    """A way on. ``url`` is an http or https one, or a path or query on this very host."""

    label: str
    url: str
    button: bool = False

    def html(self) -> str:
        """The link; nothing where its address could run a script or leave this host without naming another."""
        if not _HARMLESS.match(self.url):
            return ""
        kind = ' class="button"' if self.button else ""
        return f'<a{kind} href="{escape(self.url)}">{escape(self.label)}</a>'


@dataclass(frozen=True, slots=True)
class Content:
    """What stands on a page, as plain text; ``quote`` is preformatted."""

    title: str
    word: str
    icon: Icon
    text: str
    quiet: str = ""
    quote: str = ""
    links: Sequence[Link] = ()
    moving: bool = False
    refresh: int = 0  # seconds, 0 = never


def html(content: Content) -> bytes:
    """The whole document."""
    title = escape(content.title)
    again = f'<meta http-equiv="refresh" content="{content.refresh}">' if content.refresh else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f'{again}<title>{title} · cli-server</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f"<body><main>{_body(content)}</main><footer>cli-server</footer></body></html>\n"
    ).encode()


def _body(content: Content) -> str:
    links = "".join(link.html() for link in content.links)
    return "".join(
        (
            f'<p class="state {content.icon}"><svg viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">'
            f"{_ICONS[content.icon]}</svg>{escape(content.word)}</p>",
            f'<h1 dir="auto">{escape(content.title)}</h1>',
            '<div class="bar"><i></i></div>' if content.moving else "",
            f'<pre dir="auto">{escape(content.quote)}</pre>' if content.quote else "",
            f"<p>{escape(content.text)}</p>",
            f'<p class="quiet">{escape(content.quiet)}</p>' if content.quiet else "",
            f'<p class="actions">{links}</p>' if links else "",
        )
    )
