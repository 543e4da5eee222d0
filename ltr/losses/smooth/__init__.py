"""Measures made smooth, as functions on functions; those that are losses by name; any loss under noise."""
