"""Steps: how one asset reads, computes, checks and writes its tables, partition by partition, and what is current.

Begin with `step`. `contract` describes tables, `step_run` is a step at work in a Dagster run. Not here: what a step computes.
"""
