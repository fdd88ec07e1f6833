"""An image is looked at sixteen patches by sixteen, and what is found is averaged (ADR 15, 16).

The networks and the statistics weigh what patches have in common (attention, histograms, deviations, amplitudes), and
learned that from crops of sixteen, each one place of a picture. More at once, of places that differ, are like neither
class. Means over several windows scatter less than those over one: `one_class.View` allows for their number.
"""

from __future__ import annotations

TOGETHER = 16
"""Patches of a crop that the heads are fitted on."""


def windows(count: int) -> list[slice]:
    """Which of `count` >= 1 patches, as they were cut, are looked at together: `TOGETHER` each, or all where there are
    fewer. Where they do not come out even, the last overlaps the one before; every patch is in one."""
    last = max(0, count - TOGETHER)
    return [slice(start, start + TOGETHER) for start in [*range(0, last, TOGETHER), last]]
