"""Duplicates: which clips show a shot again, and which of them stays. Decisions over stored hashes, poses and embeddings."""
