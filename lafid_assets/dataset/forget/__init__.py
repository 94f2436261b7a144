"""Forgetting a clip or a person: nothing of them stays in the home or the store, and they do not come back."""
