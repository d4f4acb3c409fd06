"""Style and content of an image: decomposition, selection among candidates, and the label-fidelity gate."""
