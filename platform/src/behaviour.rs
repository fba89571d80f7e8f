//! What a network must do, whichever it is: the same tests run on the real and the simulated one.
