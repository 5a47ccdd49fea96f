"""``python -m fsmcollect``."""

from fsmcollect.cli import main

main()
