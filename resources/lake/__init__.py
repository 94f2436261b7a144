"""The lake: tables on DuckLake, and the catalog that knows them. Begin with `lake`."""
