"""The tour: the promises shown one after the other on the real parts, unattended.

Begin with `run`, which gives the steps in their order, and `stage`, what a step works on and may say.

- Steps: `entrances`, `passkeys`, `devices`, `registration`, `revocation`, `cases`, `kills`, `elastic`, `trail`,
  `evidence`.
- Real parts that they need: `chromium`, `elasticsearch`.
- Witnesses, none of which trusts the gateway's own word: `connections` (open ones, watched), `recorder` (an app with a
  list of its own), `load` (people who go on working), `copies` and `stored` (what Elasticsearch should hold, and does).
"""

__all__: list[str] = []
