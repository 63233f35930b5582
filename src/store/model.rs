//! model to come
