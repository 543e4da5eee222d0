"""How every ranker is trained: the job, what is made ready for it, the checkpoint, the loop, and what selects."""
