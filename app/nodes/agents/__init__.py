"""Nodes that decide and answer with actions, one kind of agent a file; nothing that sends an
action.
"""
