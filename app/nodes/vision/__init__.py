"""Nodes on pictures, detections and the text in them; the arithmetic is in app/imaging."""
