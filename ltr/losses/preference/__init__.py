"""Losses against a reference scorer, one file a family."""
