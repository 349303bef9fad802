"""Settings shared by all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadlines: tests run beside each other on two cores. In CI the same examples every time, elsewhere new ones.
settings.register_profile("vasomim", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("vasomim")
