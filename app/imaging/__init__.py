"""Pure functions on pictures, boxes and text lines; no nodes, no state."""
