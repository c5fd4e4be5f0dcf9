"""Compile a graph of nodes and run one message through it; where messages come from is
app/streams.
"""
