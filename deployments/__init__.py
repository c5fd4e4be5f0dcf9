"""Ray Serve applications and their builders; thin, what decides anything is below."""
