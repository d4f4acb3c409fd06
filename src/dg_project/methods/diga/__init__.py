"""DiGA: distillation on mixed styles, then self-training with a bilateral consensus."""
