"""Training: from the dataset to a checkpoint. Thin assets over `model`; torch is imported only while they run."""
