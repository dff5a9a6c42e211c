"""What both ends of a tunnel need: sockets and TLS that work anywhere, and requests over HTTP/1.1."""
