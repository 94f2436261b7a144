"""The outside world behind small interfaces: addresses, files, the database, engines, the registry.

Belongs here: whatever touches disk, network or a child process. Not here: Dagster assets, decisions about clips.
"""
