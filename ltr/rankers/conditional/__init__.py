"""Conditional rankers: one net for every preference between objectives."""
