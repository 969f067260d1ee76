"""Texts and time series: reading, tokenizers, encodings, batches of similar length."""
