"""Do the verdicts keep their promises? Checked on simulated runs, whose true values are known.

``python -m benchmarks simulations`` prints the tables and fails if a promise is broken. Each file
has the tasks of one promise; what they judge with is the package itself.
"""

from benchmarks.simulations.everything import main as main
