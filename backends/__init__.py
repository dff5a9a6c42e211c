"""Where sandboxes run. Imports nothing of ``daemon``."""
