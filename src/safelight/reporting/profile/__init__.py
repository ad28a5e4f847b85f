"""The data's own page."""
