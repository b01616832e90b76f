"""The client for threads: blocking sockets below the same classes as in _async."""
