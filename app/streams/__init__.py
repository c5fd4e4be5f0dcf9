"""Drive a source into a pipeline: connect, queue, back off, count, hand to sinks; knows no API."""
