"""The one place that fetches and parses: a world and a name in, frozen models out, a file a subject.

What could not be looked at is a gap with its reason, never an error, unless nothing at all can be said.
"""
