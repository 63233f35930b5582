//! Who we trade with: a partner's profile (`config/partners/<name>.yaml`), and what becomes of interchanges by it.
//!
//! ```text
//! mailbox ──> take ──> the pipeline that takes this document of this partner
//!              │ └──> acknowledgment ──┐
//! to: { partner: … } ──────────────> envelope ──> the partner's transport
//!              └─ state of what we sent ┘└─ overdue
//! ```
//! - [`Partners`]: the profiles as read, found by name and by the identities an interchange states.
//! - [`Take`] is the step of what comes in: an interchange is read and checked, known numbers are told apart from new ones, each
//!   message goes to its pipeline, each acknowledgment to the documents it answers.
//! - [`Envelope`] and [`Overdue`] are the steps of what goes out: numbers are allocated and stored with the bytes.
//! - [`PartnerSource`] and [`PartnerTarget`] are the ends of pipelines; [`HandOver`] brings messages from one to the other.
//!
//! Steps ask for rows of tables and change them, as those of pipelines do: both engines keep their promises for them.

mod answers;
mod checks;
mod codec;
mod ends;
mod envelope;
mod hand_over;
mod interchange;
mod load;
mod outgoing;
mod overdue;
mod profile;
mod settings;
mod take;
mod tables;
#[cfg(test)]
mod tests;

pub use codec::{EnvelopeCodec, InterchangeCodec, MessageCodec};
pub use ends::{PartnerSource, PartnerTarget, Taken, source_shape, target_shape};
pub use envelope::Envelope;
pub use hand_over::{HandOver, Waiting};
pub use load::{Mailbox, Partners, load};
pub use overdue::Overdue;
pub use profile::{DocumentType, Partner};
pub use settings::shape;
pub use tables::sent;
pub use take::{Routes, Take};
