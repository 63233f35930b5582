//! What is seen from outside: every metric and every log field, named once.

mod logs;
mod metrics;
mod outage;

pub use logs::{LogFormat, start_logs};
pub use metrics::{BrokerMetrics, DestinationMetrics, Metrics, PipelineMetrics};
pub use outage::{Outage, in_words};
