"""Telling: one HTML file that opens offline."""
