//! AWS IoT Core's spelling of the hub: topics, policies, shadows and the signed HTTPS API.

mod aws;
pub mod policies;
pub mod rest;
pub mod sigv4;
pub mod topics;

pub use aws::Aws;
