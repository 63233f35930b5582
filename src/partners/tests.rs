//! Profiles read, and what becomes of interchanges by them.
