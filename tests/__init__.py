"""All tests. What they are told by signals they hear, however they were started."""

import signal

# A shell that starts something in the background has it ignore SIGINT, and so would everything that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
