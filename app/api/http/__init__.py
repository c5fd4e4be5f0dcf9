"""The HTTP and WebSocket routes, a file a group of them; what a request means is decided
elsewhere.
"""
