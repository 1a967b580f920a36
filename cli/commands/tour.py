"""`sekisho tour`: the promises shown on a fresh city, unattended."""

from __future__ import annotations

import typer

from cli.call import Call
from cli.command import shows


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    shows(app, "tour", "約束を本物の部品で順に示す (4分以内)", "show every promise on the real parts, unattended")(tour)


def tour(call: Call) -> None:
    """Give the tour. Exit status 0: all shown; 1: something does not hold; 3: something could not be shown here."""
    from cli.tour.run import give

    raise typer.Exit(give(call.now))
