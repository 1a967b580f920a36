"""`python -m cli`: the same program as `sekisho`."""

from cli.main import main

main()
