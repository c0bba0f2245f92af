"""Timings of real runtimes and the fit of device profiles (`python -m sizer.calibration.fit`)."""
