"""The convolutional line."""
