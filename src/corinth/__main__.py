"""`python -m corinth`."""

import sys

from corinth.cli import main

sys.exit(main())
