"""One module for each page or group of pages; `gateway.portal.server` names their addresses.

Coming in: `set_up` (first time), `sign_in`, `step_up`. Signed in: `home` (launcher, sign-out), `my_factors`,
`my_password`, `my_sessions`. `new_factor` is what `set_up` and `my_factors` both show. On app hosts: `app_area`, and
`keys` for the apps themselves.
"""

__all__: list[str] = []
