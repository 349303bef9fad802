"""Auditing data before training: what is broken, doubled, misplaced or odd, and what to do about it."""
