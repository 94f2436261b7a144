"""Third-party weights that are not ours to ship: what there is, under which terms, and where this machine keeps it."""
