"""Shared fixtures: tiny, synthetic, quick."""
