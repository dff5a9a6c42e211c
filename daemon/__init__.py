"""The server (everything but ``daemon.agent``) and the laptop agent (``daemon.agent``)."""
