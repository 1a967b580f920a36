"""Decides: facts in, a Decision out. Pure but for the file loader.

A policy file travels `yaml_positions` (data with places) → `schema` (pydantic, one condition model an attribute) →
`load` (all faults, or the IR) → `model` (frozen values and their wire form, which the state feed carries) →
`compile` (closures indexed by app: what a worker asks once a request).

- Vocabulary: `catalogue` (facts, types, what absence means), `reasons` (why), `decision` (results), `obligations`,
  `units` (how durations, times and dates are written), `words` (conditions in Japanese).
- Deciding: `evaluate` (three-valued leaves), `layout` (rules for one kind of request), `compile`, `narrow` (many
  questions within one second), `explain` (why, and what would help), `zones` (address → network).
- Keeping it right: `testing` (tests inside the file), `check` (lint), `masks` (what records hide, no rule names),
  `versions` (hash, difference in words).

Workers import `model` and `compile` and their closure only; pydantic and YAML stay in `load`, `schema` and
`yaml_positions`.
Bundled policies are in `bundled/`: `first.yaml` (for a new installation), `starter.yaml` (the sample city).
"""

__all__: list[str] = []
