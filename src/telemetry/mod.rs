//! What is seen from outside: every metric and every log field, named once.

mod connections;
mod logs;
mod metrics;
mod outage;

pub use connections::{ConnectionMetrics, PollMetrics, Traffic};
pub use logs::{LogFormat, start_logs};
pub use metrics::{BrokerMetrics, DestinationMetrics, Metrics, PipelineMetrics};
pub use outage::{Outage, in_words};
