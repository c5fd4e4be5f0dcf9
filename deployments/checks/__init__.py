"""What `manta validate` says of a site's files before anything starts; starts nothing itself."""
