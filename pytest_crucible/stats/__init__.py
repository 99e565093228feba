"""Statistics: `expectations` judges claims about metrics."""
