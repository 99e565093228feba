"""Artifacts: a run on disk. `run` reads one, `manifest` describes it, `exporters` write files."""
