"""An option that takes one value is given once.

A second one would silently replace the first, and the person would believe that both were carried out.
"""

from __future__ import annotations

from typing import Any

from cli.language import t
from cli.spoken import SpokenCommand


class OnceCommand(SpokenCommand):
    """A command that refuses a repeated single-valued option as a usage error (exit status 2)."""

    def check(self, ctx: Any, args: list[str]) -> None:
        """Parse once to see what was given; raises a usage error."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for index, parameter in enumerate(order):
            single = parameter.param_type_name == "option" and not (
                getattr(parameter, "multiple", False)
                or getattr(parameter, "count", False)
                or getattr(parameter, "is_flag", False)
            )
            if single and any(earlier is parameter for earlier in order[:index]):
                name = max(parameter.opts, key=len)
                ctx.fail(t(f"{name} が二度指定されています。一つだけ指定してください。", f"{name} is given twice."))
