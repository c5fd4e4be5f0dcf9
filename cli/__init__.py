"""The `manta` command, a file a verb; the top floor, which nothing imports."""
