"""What pytest sees of us: settings, markers, trials, node roles, the end of the session."""
