"""Benchmarks: ``python -m bench [NAME...]`` measures and prints; nothing here passes or fails.

Every number stands beside a baseline that was measured in the same run, because machines differ.
"""
