"""Landmark networks for the mouth. Each gives the 68 points of the iBUG scheme, from which `landmark_pose` reads the rest."""
