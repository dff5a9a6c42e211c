"""How values are written in settings: plain functions from text to value. Each raises :class:`ValueError` on nonsense.

The error's text is empty where what is accepted says enough, else it says what exactly is wrong.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from protocol.addresses import is_address

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on. ``port`` 0 asks the system for one; an empty ``host`` is every address."""

    host: str
    port: int

    @property
    def everywhere(self) -> bool:
        """Whether it is every address, of one family at least."""
        return self.host in ("", "0.0.0.0", "::")


_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[dhms])+")
_DURATION_PART = re.compile(r"([0-9.]+)([dhms])")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_LONGEST = 366 * 86400.0  # a year; PostgreSQL's intervals and Trio's clock bear far more, nobody means it
_LONGEST_KEPT = 10 * _LONGEST  # as long as laws ask for books; who means more means for ever

_SIZE = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,6})?)(Ki|Mi|Gi|Ti|k|K|M|G|T)?")
_BYTES = {
    "": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
    "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
}  # fmt: skip

# RFC 1918, and RFC 6598 (shared address space).
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
_RUNTIME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}")
# What GitHub allows for a user or an organisation.
_ORGANISATION = re.compile(r"[a-z0-9][a-z0-9-]{0,38}")
_SCOPE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749, 3.3
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# RFC 1035 allows 253 characters; sandboxes put "65535-" and 16 characters and a dot in front.
_LONGEST_DOMAIN = 253 - 23


def duration(text: str) -> float:
    """Seconds of ``30m``, ``90s``, ``1h30m``, ``1d`` or plain ``0``."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds > _LONGEST:
        raise ValueError("it is longer than 366d")
    return seconds


def retention(text: str) -> float:
    """Seconds for which something is kept: a day at least, ten years at most, or ``0`` for ever."""
    if text == "0" or not _DURATION.fullmatch(text):
        return duration(text)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if not _SECONDS["d"] <= seconds <= _LONGEST_KEPT:
        raise ValueError("it is shorter than 1d or longer than 3660d")
    return seconds


def size(text: str) -> int:
    """Bytes of ``2Gi``, ``512Mi``, ``1.5G`` or a plain number, as Kubernetes writes them."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError
    return int(float(match[1]) * _BYTES[match[2] or ""])


def size_from(least: int, name: str) -> Callable[[str], int]:
    """A parser of sizes of at least ``least`` bytes, which people call ``name``."""

    def parse(text: str) -> int:
        found = size(text)
        if found < least:
            raise ValueError(f"it is less than {name}")
        return found

    return parse


def cores(text: str) -> float:
    """Processor cores: ``2``, ``0.5``, or thousandths as ``500m``."""
    if not re.fullmatch(r"[0-9]+m|[0-9]+(?:\.[0-9]+)?", text):
        raise ValueError
    found = int(text[:-1]) / 1000 if text.endswith("m") else float(text)
    # The kernel's quota works in steps of a millisecond in 100 ms; no machine has more than some thousand cores.
    if not 0.01 <= found <= 4096:
        raise ValueError("it is not between 0.01 and 4096")
    return found


def number_between(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers in a range, both ends included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
            raise ValueError
        return int(text)

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """A parser that accepts these words only."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return parse


def endpoint(text: str) -> Endpoint:
    """``host:port``, ``[::1]:8080``, or ``:8080`` for every address."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("it has no port" if not colon else "")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host or not is_address(host):
            raise ValueError(f"[{host}] is not an IPv6 address")
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets")
    elif host and not (is_address(host) or _is_host_name(host.lower())):
        raise ValueError(f"{host} is not a host")
    return Endpoint(host, int(port))


def endpoint_or_off(text: str) -> Endpoint | None:
    """As :func:`endpoint`; ``off`` is ``None``."""
    return None if text == "off" else endpoint(text)


def domain(text: str) -> str:
    """A host name in lower case that may have sub-domains: no port, no address."""
    name = text.lower().removesuffix(".")
    if is_address(name.strip("[]")):
        raise ValueError("sandboxes need names below it, and an address has none")
    if "://" in name or "/" in name:
        raise ValueError("it is a URL; BASE_SCHEME and PUBLIC_PORT say the rest")
    if ":" in name:
        raise ValueError("the port belongs into PUBLIC_PORT")
    if not _is_host_name(name):
        raise ValueError
    if len(name) > _LONGEST_DOMAIN:
        raise ValueError(f"it is longer than {_LONGEST_DOMAIN} characters")
    return name


def _is_host_name(name: str) -> bool:
    labels = name.split(".")
    # A last label of digits would be read as an IPv4 address (WHATWG URL, "ends in a number").
    return all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdecimal()


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks or addresses, separated by commas: ``10.0.0.0/8, ::1``."""
    found = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        try:
            found.append(ip_network(part))
        except ValueError as error:
            # "10.0.0.1/8 has host bits set" is worth repeating.
            raise ValueError(f"{part}: {error}" if part not in str(error) else str(error)) from None
    return tuple(found)


def network_pool(text: str) -> IPv4Network:
    """A network from which one of 64 addresses is cut for each workspace: ``10.213.0.0/16``."""
    network = ip_network(text)
    if not isinstance(network, IPv4Network):
        raise ValueError("it is not IPv4")
    if network.prefixlen > 26:
        raise ValueError("it is smaller than /26")
    # Who comes from there is taken for a sandbox, and gets no page.
    if not any(network.subnet_of(private) for private in _PRIVATE):
        raise ValueError("it is not within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10")
    return network


def engine_host(text: str) -> str:
    """Where a Docker engine is: ``unix:///var/run/docker.sock`` or ``tcp://host:port``."""
    path = text.removeprefix("unix://")
    if path != text:
        if not path.startswith("/") or not path.isprintable():
            raise ValueError("the path is not absolute")
        return text
    parts = urlsplit(text)
    if parts.scheme != "tcp" or not parts.hostname or parts.port is None or text != f"tcp://{parts.netloc}":
        raise ValueError
    return text


def runtime_name(text: str) -> str:
    """The name of a container runtime, such as ``runsc``."""
    if not _RUNTIME.fullmatch(text):
        raise ValueError
    return text


def http_url(text: str) -> str:
    """An ``http`` or ``https`` URL without query, fragment or credentials; its path is kept, without a final slash."""
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError
    parts = urlsplit(text)
    _check_authority(parts)
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("it has a query or a fragment")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _check_authority(parts: SplitResult) -> None:
    if parts.scheme not in ("http", "https"):
        raise ValueError("it does not begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("it holds credentials")
    host = parts.hostname or ""
    if not (is_address(host) or _is_host_name(host)) or parts.port == 0:  # .port raises ValueError by itself
        raise ValueError("it has no host that can be")


def http_origin(text: str) -> str:
    """As :func:`http_url`, without a path: ``https://agents.example.com``."""
    url = http_url(text)
    if urlsplit(url).path:
        raise ValueError("it has a path")
    return url


def replica_url(text: str) -> str:
    """As :func:`http_origin`, with ``http`` and a port: replicas speak plain HTTP with each other."""
    url = http_origin(text)
    if not url.startswith("http://") or urlsplit(url).port is None:
        raise ValueError("it is not http, or has no port")
    return url


def provider_url(text: str) -> str:
    """As :func:`http_url`, for what is trusted with secrets: ``http`` only where nobody else can listen."""
    url = http_url(text)
    host = urlsplit(url).hostname or ""
    if url.startswith("http://") and not is_this_machine(host):
        raise ValueError("secrets would travel unencrypted")
    return url


def is_this_machine(host: str) -> bool:
    """Whether a host of a URL, without brackets, is this very machine."""
    if is_address(host):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def domains(text: str) -> tuple[str, ...]:
    """Host names separated by commas, in lower case: ``example.com, example.org``."""
    return _listed(text, lambda part: "." in part and _is_host_name(part))


def organisations(text: str) -> tuple[str, ...]:
    """Names of GitHub's organisations separated by commas, in lower case."""
    return _listed(text, lambda part: _ORGANISATION.fullmatch(part) is not None)


def _listed(text: str, accepted: Callable[[str], bool]) -> tuple[str, ...]:
    found = []
    for part in (part.strip().lower() for part in text.split(",")):
        if not accepted(part):
            raise ValueError(f"{part} is none" if part else "a part of it is empty")
        found.append(part)
    return tuple(found)


def scopes(text: str) -> str:
    """OAuth scopes separated by blanks, ``openid`` among them."""
    words = text.split(" ")
    if not all(_SCOPE.fullmatch(word) for word in words):
        raise ValueError
    if "openid" not in words:
        raise ValueError("openid is not among them")
    return text


def json_object(text: str) -> str:
    """A JSON object, returned as it was written."""
    try:
        found = json.loads(text)
    except ValueError as error:  # also RecursionError's friends: json.JSONDecodeError is a ValueError
        place = f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"it is not JSON ({place})" if place else "it is not JSON") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("it is JSON, but not an object")
    return text


def credential(text: str) -> str:
    """A key, token or client id: visible ASCII, because it goes into HTTP headers."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it holds blanks or other characters that cannot be sent in a header")
    return text


def one_line(text: str) -> str:
    """Any text in one line."""
    if not text.isprintable():
        raise ValueError("it holds characters that cannot be printed")
    return text


def path(text: str) -> Path:
    """An absolute path; ``~`` is the home directory."""
    if "\0" in text:
        raise ValueError
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("there is no home directory here; write the whole path") from None


def image(text: str) -> str:
    """The name of a container image: what registries accept, roughly, and nothing that looks like an option."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", text):
        raise ValueError
    return text


def database_url(text: str) -> str:
    """A PostgreSQL connection string, URL or words, checked with libpq's own parser where it is installed."""
    given = _conninfo(text)
    ports = str(given.get("port") or "").split(",")
    if any(port and not (port.isdecimal() and 0 < int(port) <= 65535) for port in ports):
        raise ValueError("its port is not a port; special characters in a password must be percent-encoded")
    if "@" in str(given.get("host") or ""):
        raise ValueError("special characters in a password must be percent-encoded")
    return text


def database_password(text: str) -> str | None:
    """The password in a connection string that :func:`database_url` accepted."""
    password = _conninfo(text).get("password")
    return str(password) if password else None


def _conninfo(text: str) -> dict[str, object]:
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:  # the agent's install has no database driver, and no use for this setting
        return {}
    try:
        return dict(conninfo_to_dict(text))
    except (ProgrammingError, UnicodeError):
        raise ValueError from None  # the parser's words may repeat a piece of the password


def duration_text(seconds: float) -> str:
    """A duration as :func:`duration` reads it, in the largest unit that divides it: ``30m``, ``90s``, ``0``."""
    if seconds == 0:
        return "0"
    for unit, size_ in (("h", 3600), ("m", 60)):
        if seconds % size_ == 0:
            return f"{seconds / size_:g}{unit}"
    return f"{seconds:g}s"


def size_text(count: int) -> str:
    """A size as :func:`size` reads it, in the largest unit that divides it: ``2Gi``, ``512Mi``."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if count >= _BYTES[unit] and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return str(count)
