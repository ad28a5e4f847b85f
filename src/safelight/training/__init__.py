"""Learning: one loop that trains every family, within a budget, and survives a kill."""
