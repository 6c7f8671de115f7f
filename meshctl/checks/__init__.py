"""Findings with stable ids: one function each. Pure; no words of the screen beyond a finding's own text."""
