"""Run the command line as `python -m jaxdl`."""

from jaxdl.cli import main

raise SystemExit(main())
