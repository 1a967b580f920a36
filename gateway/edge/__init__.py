"""Bytes in, bytes out: the only code on the request path that touches sockets."""
