"""The mathematics: how images become noise, and what a network has to learn to undo it."""
