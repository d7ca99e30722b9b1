"""`python -m gateway` is the `meterway` command."""

from gateway.cli import main

main()
