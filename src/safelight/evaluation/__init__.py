"""Judging: numbers that carry their interval, their floor and their protocol."""
