"""The core of Manta: knows nothing of Ray, of devices or of ML runtimes."""

__version__ = "0.1.0"
