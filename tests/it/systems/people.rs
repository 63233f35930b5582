//! Customers and what they write.
