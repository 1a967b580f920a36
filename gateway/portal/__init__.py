"""Pages for people: sign-in, factors, launcher, and our own area on every app host.

Begin with `server`, the table of addresses; each leads into `handlers`, and `protection` stands around all of them.
Texts are in `locales/`, pages in `templates/`.

- A request: `arrival` is what the worker says of it, `language` which words, `cookies` and `forms` what it brings;
  `signed_in` is what pages of signed-in people share. `pages` is the one way out.
- Signing in: `flows` keeps what is under way, `entrance` is its last step, `destinations` where it leads, `handover`
  how an app host gets its session.
- The launcher: `availability` (what may be opened now), `browser_name` (for the list of sessions).
- Files: `assets` are served to anybody; `published` is what workers show of ours without us, carried by the feed.
"""

__all__: list[str] = []
