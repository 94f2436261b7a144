"""The dataset: what is kept, split by person, versioned by content, and what a person looks at."""
