"""`python -m cdc` is the command `cdc`."""

from cdc.cli import main

main()
