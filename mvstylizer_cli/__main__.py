"""Run the command line as ``python -m mvstylizer_cli``."""

from mvstylizer_cli.main import main

main()
