"""A version of the dataset on its way out: what may go, in which form, checked after it was written."""
