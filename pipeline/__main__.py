"""`python -m pipeline` is `cabb`."""

from pipeline.cli import main

main()
