"""What came out: results, leaderboards, fronts, published numbers."""
