"""What runs: versions, batchers, loading, health and control; reads no model file itself."""
