"""`python -m web`: the `callscope` command."""

from web.cli import main

main()
