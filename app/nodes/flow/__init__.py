"""Nodes that join a pipeline to models and receivers, and plain functions as nodes; no arithmetic
of their own.
"""
