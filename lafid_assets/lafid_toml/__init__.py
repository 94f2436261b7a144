"""`lafid.toml`: where it lies, what it says, and whether all of it fits together."""
