"""The screenplay: every clip of the sample footage in one typed table, with what curation should make of it.

Belongs here: who is seen where, how they move, what is heard, what is wrong with the file, the caption, the expected outcome.
Not here: pixels (`render`), sound (`voice`), files (`build`). People are described in `persons`.
"""
