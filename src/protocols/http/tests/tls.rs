//! Certificates: a private authority, a peer that wants ours, and those that do not fit.
