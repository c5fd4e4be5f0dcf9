"""What there is: directories, model.yaml, artefacts, integrity, versions; runs nothing."""
