"""Workers: child processes that take one clip at a time, within a deadline and a memory limit. Begin with `pool`."""
