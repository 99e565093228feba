"""Measurements behind what the documentation says; ``python -m benchmarks`` runs them."""
