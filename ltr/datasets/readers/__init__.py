"""Readers: svmlight text and tables to blocks of rows, rows to query lists."""
