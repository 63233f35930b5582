//! Till tickets and the tills' end of day.
