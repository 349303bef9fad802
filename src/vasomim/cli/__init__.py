"""The command line: `vasomim VERB [INPUT ...] --out DIR [--config FILE] [flags]`; nothing heavy before a verb runs."""

from vasomim.cli.app import main

__all__ = ["main"]
