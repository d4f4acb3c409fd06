"""MIC: masked image consistency with an EMA teacher."""
