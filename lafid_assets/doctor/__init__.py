"""What this node lacks to work like the others, asked before a run finds out. Nothing is made or changed by asking.

Belongs here: checks, a thing each. Not here: what a run itself refuses (`lafid_assets.runs.preflight`), the order in which they
are asked and what is shown (`cli.doctor`).
"""
