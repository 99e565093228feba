"""From events to numbers: `observations` gathers columns and trials, `summary` makes metrics."""
