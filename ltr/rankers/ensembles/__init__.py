"""Ensembles: nets of one shape trained as one, and bagging."""
