"""The embedded snapshot behind --demo."""
