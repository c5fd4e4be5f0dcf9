"""Nodes on numbers and readings; no pictures."""
