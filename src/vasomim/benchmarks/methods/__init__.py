"""Pre-training methods and ablations on one grid: what a cell runs, what it leaves, and what the rows say."""
