"""Wan and its kin, frozen: what each is, where its folder comes from, what it is given of pictures, diffusers' pipelines on it.

Belongs here: everything that would be the same without a face. Not here: the face (`face_branch`), files of clips (`clips`).
"""
