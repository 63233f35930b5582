//! Every branch of the shorter way, against a target that does as it is told.
