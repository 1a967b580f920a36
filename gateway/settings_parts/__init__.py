"""The tables of `sekisho.toml`, each a frozen model; `gateway.settings` joins them into one value and reads the file.

Begin with `field`: meaning, unit, default and reason stand together where a setting is declared, and `Section` is one
table. `listeners` (where the gateway listens), `bounds` (limits, times, sizes), `upstreams` (connections to apps),
`services` (MDM, Elasticsearch, alerts) and `outlets` (other ways out of the records) declare the tables that are more
than a few lines. `faults` turns what is wrong with a file or a variable into lines for people.
"""

__all__: list[str] = []
