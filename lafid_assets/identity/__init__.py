"""Identity: is it one person all along, and which clips show the same person. Decisions over stored embeddings."""
