"""Release: a checkpoint is measured, gated, registered and promoted by alias. Traceable to the clips that it was trained on."""
