"""The client for event loops: AnyIO below the same classes as in _sync."""
