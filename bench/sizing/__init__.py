"""``make sizing``: what a large installation costs, by measuring one whose sandboxes and machines are fakes.

The database, the daemon, the tunnels and the requests are real. ``docs/sizing.md`` has the result.
"""
