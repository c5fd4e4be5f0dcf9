"""What runs on a machine beside the server: its supervisor; no models and no streams."""
