"""LambdaRank and its family, losses weighted by what a pair means to a measure: the frame, and one file an idea."""
