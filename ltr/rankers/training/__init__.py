"""Training of nets: one loop, and what validation says of the scores."""
