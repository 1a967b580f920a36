"""The gateway: one supervisor, the processes that it starts, and what they are made of.

Begin with `supervisor`: it starts every process, serves nothing, and works with `supervision`; `reloading` puts new
settings or a new program in place while requests go on. The others are composition roots as well; each reads the
`settings` once and hands its parts what they need:

- `worker` takes requests. `edge` turns bytes into a request and back; `gatekeeper` gives the pure `gate` what makes it
  live: clock, token buckets, journals, the steward's answers. Beside it, `entrances` are its listeners and their
  certificates, `completion` records how a request ended, `session_use` who was at work, `upstream_health` which
  server of an app failed, `counters` what is told as numbers; `leasing` shares rates with the other workers.
- `steward` alone writes the store and tells the workers what changed; both ends of that are in `state`.
- `control` serves people: pages (`portal`) and the administrators' API (`admin`), over `identity` (who), `posture`
  (which device) and `apps` (what is protected). `listening` holds its sockets; `alerting` follows the trail and tells
  persons by `signals`.
- The auditor is `audit.daemon`, started like the rest.

An installation is made by `installation`: `certificates`, `keyfiles` and `new_files` put its files there, `first_state`
what its store begins with. `furnishing` adds people and apps for trials, `upgrade` brings an older store up to date.
`settings` is made of `settings_parts`; `settings_reference` writes it out for people. `doctor` looks at an installation
from outside, by `doctor_parts`, and says what is wrong with it.

Which module may import which is the contract "gateway-layers" in pyproject.toml. The command line asks by the admin
API; of these modules it imports only what makes, upgrades, reads, examines and starts an installation.
"""

__all__: list[str] = []
