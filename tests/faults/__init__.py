"""What goes wrong outside of the code: kills, damaged files, inputs nobody meant, signals.

    python -m tests.faults --minutes 10                  all four, in turn, for ten minutes
    python -m tests.faults --only damage --seed 7        one of them, with a seed of its own

Every case ends in one of the outcomes of `outcomes.py`. Silent wrong results, exceptions that are not ours and hangs
are mistakes: they are printed with what repeats them, and the exit code is 1.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything computes: a fork takes over no threads
