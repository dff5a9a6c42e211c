"""What a user name, a password and an e-mail address must look like. Pure."""

from __future__ import annotations

import re

MAX_USERNAME = 40  # as GitHub's 39 and GitLab's, roughly; it stands in lists and logs
# ASCII, so that two names that look alike are alike; compared without regard to case.
_USERNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")
_MAX_EMAIL = 254  # RFC 5321, 4.5.3.1.3

MIN_PASSWORD = 8  # characters; NIST SP 800-63B-3, 5.1.1.2
MAX_PASSWORD = 1024  # bytes; no person types more, and argon2 need not hash megabytes

# The most common of eight characters and more, in every list of leaked passwords.
_COMMON_TEXT = """
password password1 password12 password123 password1234 passw0rd p@ssw0rd p@ssword 12345678 123456789 1234567890
12345678910 0123456789 0987654321 987654321 87654321 1q2w3e4r 1q2w3e4r5t q1w2e3r4 1qaz2wsx qwertyui qwertyuiop
qwerty12 qwerty123 qwerty1234 asdfghjk asdfghjkl zxcvbnm1 abcd1234 abc12345 abcdefgh a1b2c3d4 iloveyou iloveyou1
sunshine princess football baseball superman starwars trustno1 whatever computer internet letmein1 letmein123
welcome1 welcome123 admin123 admin1234 administrator changeme changeme123 12341234 12121212 11223344 123123123
147258369 secret123 test1234 testtest default1 master123 dragon123 monkey123 shadow123 michael1 jennifer
"""
_COMMON = frozenset(_COMMON_TEXT.split())


def is_username(text: str) -> bool:
    """Whether ``text`` can be a user's name: no other is ever asked of the database."""
    return _USERNAME.fullmatch(text) is not None


def username_fault(text: str) -> str | None:
    """What is wrong with a wanted user name."""
    if is_username(text):
        return None
    return (
        f"must be 1 to {MAX_USERNAME} of the characters a-z, 0-9, dot, hyphen and underscore, "
        "and begin and end with a letter or digit"
    )


def email_fault(text: str) -> str | None:
    """What is wrong with an e-mail address. Only a letter that arrives proves one; this catches slips."""
    good = len(text) <= _MAX_EMAIL and _EMAIL.fullmatch(text) is not None
    return None if good else "must be an e-mail address, or left out"


def password_fault(password: str, username: str) -> str | None:
    """What is wrong with a wanted password: too short, or among the first that anybody would guess."""
    if len(password) < MIN_PASSWORD:
        return f"must have at least {MIN_PASSWORD} characters"
    if len(password.encode()) > MAX_PASSWORD:
        return f"must have at most {MAX_PASSWORD} bytes"
    lowered = password.lower()
    if lowered == username.lower():
        return "must not be the user name"
    if lowered in _COMMON or len(set(lowered)) == 1:
        return "is one of the most common passwords; choose another"
    return None
