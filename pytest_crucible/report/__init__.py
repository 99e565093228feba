"""Reports: `results` gathers what a reader is shown; the others turn it into text, never print."""
