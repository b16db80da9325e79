//! Knative's settings: from a ConfigMap and annotations, as text, to the numbers that decide about one revision. Both policies
//! and the host's bounds read them here. It knows keys, ranges and messages, and nothing of how a decision is made.
//!
//! The rules, names and defaults are those of Knative Serving 1.23 (`pkg/autoscaler/config`, `pkg/apis/autoscaling`). One key is
//! Tidegate's own: `tick-interval`.
//!
//! ```
//! use std::collections::BTreeMap;
//! use tidegate_settings::{Cluster, Revision};
//!
//! let cluster = Cluster::read(&BTreeMap::from([("stable-window".into(), "180s".into())]))?;
//! let annotations = BTreeMap::from([("autoscaling.knative.dev/target".into(), "4".into())]);
//! let revision = Revision::read(&cluster, &annotations).map_err(|errors| errors[0].to_string())?;
//! let resolved = revision.resolve(8, true).expect("the class is Knative's own");
//! assert_eq!((resolved.stable_window_s, resolved.total_value), (180, 4.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod annotations;
mod cluster;
mod document;
mod duration;
mod keys;
mod number;
mod profiles;
mod range;
mod reason;
mod resolve;
mod unknown;

pub use annotations::{AnnotationError, Revision};
pub use cluster::{Cluster, ConfigError, Found};
pub use document::{Problem, resolve};
pub use duration::{NANOS_PER_SECOND, parse_duration};
pub use keys::{Annotation, InCluster, Key, Kind, PREFIX, Setting};
pub use profiles::{PROFILES, Profile, profile};
pub use range::Range;
pub use reason::Reason;
pub use resolve::{Aggregation, Metric, Resolved, activators};
pub use unknown::{Warning, nearest, unknown_annotations, unknown_keys};
