"""What the supervisor works with, and the other side of it in every process that it starts.

`gateway.supervisor` binds the listening sockets with `slots`, keeps each process running with `process`, and speaks
over inherited descriptors with `child`, which every process of the gateway imports. `requests` is the socket on which
control asks it for something, `notify` how the service manager hears of it, `filling` tells of the journals' disk.
Begin with `process`.
"""

__all__: list[str] = []
