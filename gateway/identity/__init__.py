"""Who: factors, sessions, lockout.

Begin with `context`, the bundle that every page and every admin command gets from `gateway.control`, then
`authentication`, the steps of a sign-in. `sessions` makes, raises and ends what a sign-in leads to.

- Factors: `factors` (what is kept of each), `passwords`, `totp`, `passkeys`; `enrolment` binds and removes them.
- People: `provisioning` (new accounts and their set-up codes).
- Guessing: `lockout` counts failures, `turns` lets one attempt at a time through, `digests` recognise what is not kept.
- `trail` writes the records of all this.
"""

__all__: list[str] = []
