"""Bytes in, bytes out: the only code on the request path that touches sockets.

Begin with `states`, the table of the one state machine, and `connection`, which walks it. What the edge knows of the
rest of a worker is one contract, `services`; the gate is asked through `guarded`, so that its faults are refusals.

- Before: `server_certificates` reads what a listener shows, `renewal` does so again when the files change;
  `authorities` knows who issues devices' certificates.
- In: `listener` admits what `accepting` accepted (`client_hello`, `tls`, `under_tls`, `proxy_protocol`),
  `client_socket` is the client's end, `resting` what it is between requests, `reader` makes the bytes a request,
  `blocks` knows header blocks that were read before and `known_fields` their lines, `framing` finds where a body ends.
- On: `relay` carries one request to its end, `bodies` what belongs to it both ways; `forward` writes its head, `upload`
  bounds its body and `pace` its speed, `response` is the app's answer, `delivery` the way in which the client gets it.
  `arriving` is the memory that long bodies go on from, `long_body` how a client's get there. `tunnel` follows
  WebSocket frames.
- Where to: `pools` knows each app's upstreams, `choice` says which of them a request goes to, `breaker` which is left
  alone for a while, `retrying` where it goes when one is lost. `address` is where one lives, `pool` finds a connection
  to it, `queue` who waits for one, `held` keeps those with an identity of their own, `upstream` is one connection,
  `tls_to_apps` its TLS.
- Ends: `answers` are ours, `draining` tells who still takes an answer from who does not, `live` finds what a revocation
  has to cut, `sockets` makes the cut one. `timeouts` is one sweep over all deadlines, `waiting_for` says what a
  deadline was about.
"""

__all__: list[str] = []
