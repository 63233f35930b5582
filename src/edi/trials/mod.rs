//! Hard cases: real files, damaged files, very many messages, a very long one.

mod corpus;
mod damage;
mod large;
