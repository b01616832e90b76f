"""Every request there is, one module for each kind of thing. docs/api.md describes the routes."""
