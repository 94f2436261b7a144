"""What is measured of a drawn video beside whom it shows: published measures by their own rules, and ours.

Belongs here: a file a measure, the networks that they need, the list of all (`catalogue`). Not here: similarity by pose
(`model.evaluation.similarity`), intervals (`model.evaluation.statistics`).
"""
