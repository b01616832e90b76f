"""Which daemon is meant, and how the local one is started."""
