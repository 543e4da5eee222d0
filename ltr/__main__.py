"""`python -m ltr` is `ltr`."""

import sys

from .cli import main

sys.exit(main())
