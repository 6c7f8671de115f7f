"""Packet rules: parse, explain, predict, compare, walk. Pure text and models; nothing here runs a command."""
