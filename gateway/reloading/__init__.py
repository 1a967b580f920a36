"""How a running gateway takes new settings, new certificates, or a new version of its program, without a lost request.

Begin with `requested`, which takes what is asked for, and `reload`, which carries it out. `judging` says whether the
file can be used and what it changes (`files` looks at the certificates and keys that it names, `effects` knows who uses
which setting); `crew` has the processes and puts new ones in their places, `programs` says with what each is started,
`recycling` when a worker is old. For a new program `preflight` lets that judge first, and `handover` carries sockets
and children over the exec(2).
"""

__all__: list[str] = []
