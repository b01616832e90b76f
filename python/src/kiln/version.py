__version__ = "0.1.0"
"""Of this package, as in pyproject.toml."""
