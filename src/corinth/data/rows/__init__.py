"""Rows of tables: numbers and words in named columns, a label a row."""
