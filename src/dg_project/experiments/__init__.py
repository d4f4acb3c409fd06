"""One training, done once and remembered, and the studies made of many: grids, leave-one-out, the closed loop."""
