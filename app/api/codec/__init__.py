"""Tensors to bytes and back, for every encoding of a v2 request; no routes and no transport."""
