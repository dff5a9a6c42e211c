"""Sans-I/O wire code: bytes in, events and bytes out. Never awaits, never logs, never asks the time."""
