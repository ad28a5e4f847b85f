"""From noise to images: grids of times, solver steps, and the noise they draw."""
