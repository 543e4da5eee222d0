"""Cards: what is known about a dataset, and how its files are fetched."""
