"""How long it still takes, from a rate that one slow step does not spoil."""

from __future__ import annotations

from itertools import combinations
from statistics import median

MAX_POINTS = 32
MIN_POINTS = 3


class Rate:
    """Speed of the work as the median of the slopes between all pairs of points (Theil-Sen estimator).

    Points span the whole attempt: when there are too many, every second one is dropped. Feed it monotonic seconds,
    so that nobody who sets the clock changes the estimate.
    """

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._spacing = 0.5

    def add(self, seconds: float, done: float) -> None:
        """One look at the work. Going backwards begins a new phase."""
        if self._points and done < self._points[-1][1]:
            self._points.clear()
        if not self._points or seconds - self._points[-1][0] >= self._spacing:
            self._points.append((seconds, done))
        if len(self._points) > MAX_POINTS:
            self._points = self._points[::2]
            self._spacing *= 2

    def restart(self) -> None:
        """Another phase, in another unit, begins."""
        self._points.clear()

    def seconds_left(self, remaining: float) -> float | None:
        """Estimate for so many units; None while too little is known."""
        if len(self._points) < MIN_POINTS:
            return None
        slope = median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(self._points, 2))
        return max(0.0, remaining) / slope if slope > 0 else None
