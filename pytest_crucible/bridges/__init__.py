"""Bridges bring in telemetry that knows nothing of us, one file each."""
