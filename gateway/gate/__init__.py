"""Pure: what happens to one request. No clock, no randomness, no waiting, no I/O.

Begin with `judge`, from a request to a `verdict`; `case` makes every verdict but "forward".

- Reading, called by the edge before anything is judged: `request` (the values), `headers` and `target` (strict),
  `old_paths` (for apps with named exceptions).
- Judging: `route` (which place), `credentials` (our cookies), `presence` (session and device), `revocation` (of
  certificates), `locks`, `limits` (`leased` where workers share them), `cross_site`, `own_pages` (requests for our own
  pages). `facts` is all that a decision may look at. What can be known before the request comes is worked out once:
  `standing` for an app session, `instant` for one second of it, `passage` for the next request of a page.
  `body_limit` is how large a body an app takes, `overload` which share of requests a late worker refuses.
- Recording: `decision_record` writes down a decision, `asked` what is the same for all who ask an app for the same,
  `masking` what of a target may stand there, `reference` names it (受付番号).
- Answering: `refusal` explains, by `client_kind`, with `refusal_page` and `refusal_texts`, and `retry_after` when
  to come back; `assertion` tells an app who asks.
"""

__all__: list[str] = []
