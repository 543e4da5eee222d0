"""Batches: padded lists in length buckets, in an order that only (seed, epoch) decides."""
