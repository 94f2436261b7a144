"""The mission, chapter by chapter: from raw clips to a registered model.

Belongs here: the Dagster assets (each in a module that bears its table's name), the pure kernels that they call, the `lafid`
command.
Not here: where things are stored (`resources`), what torch computes (`model`), what runs by itself (`sensors`).

The chapters, in the order of the road: `ingest`, `faces` (with `shots` and `pictures`), `constraints`, `identity`, `speech`,
`captions`, `duplicates`, `dataset`, `review`, `training`, `release`. The rooms around them: `steps` (how an asset works),
`schemas` (tables), `workers` (child processes), `lafid_toml` (settings), `runs` (Dagster's side), `checks`, `doctor`, `cli`, and
`sample_footage`, which the demo and the tests curate.
"""
