"""The store: files that are no tables, local or on S3, and what a node keeps of them. Begin with `file_store`."""
