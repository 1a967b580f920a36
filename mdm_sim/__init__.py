"""A foreign MDM for tests and for the sample city: it plays Microsoft Graph v1.0 over HTTP, with none of our code.

`world` holds the devices and the verbs that change them, `scenarios` sets up a city, `faults` breaks the service on
request, `graph_api` speaks the wire, `server` puts them behind a socket.
"""

__all__: list[str] = []
