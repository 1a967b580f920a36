"""The sample city: an invented municipality with people, devices, apps and a foreign MDM, whole on one machine.

`build` makes its folder: `people`, `applications`, `statistics` (data of one app), and `document`, which tells scripts
and persons what they need. `processes` runs it, `welcome` says that it stands. `browser` and `sign_in` use it as a
person does, `cookie_jar` hands that on to curl. Called by `cli.commands.demo` and the tour.
"""

__all__: list[str] = []
