"""Which device, in which state.

Begin with `source`, the contract of every MDM connector; `graph` keeps it for Microsoft Graph, with `graph_device`
from its words to our facts. `sync` plans what a reading changes and repeats it; `device_sync` is that loop as control
runs it: changes are recorded in the journal, then stored by the steward.

Whose certificates are revoked: `crl` verifies one revocation list, `crl_files` reads it from its file, `crl_sync` keeps
those that the settings name.
"""

__all__: list[str] = []
