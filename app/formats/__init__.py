"""Payloads, results, actions and datatypes: bytes to values and back; nothing that sends them."""
