"""The numbers of estimate() for a million architectures at once; the only part that needs numpy."""

from sizer.grid.columns import Grid
from sizer.grid.estimate import GridEstimate, GridParameters, estimate_grid, file_bytes_grid
from sizer.grid.latency import GridLatency

__all__ = ["Grid", "GridEstimate", "GridLatency", "GridParameters", "estimate_grid", "file_bytes_grid"]
