"""The scripts that made the bundled models; nothing of them is needed to serve."""
