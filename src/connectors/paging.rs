//! From page to page, and when to stop.
