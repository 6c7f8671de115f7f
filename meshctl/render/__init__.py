"""Blocks into terminal text, mermaid, svg and html; results into JSON and YAML. Knows no mesh."""
