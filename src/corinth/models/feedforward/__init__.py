"""Networks without any structure of their own: the baseline."""
