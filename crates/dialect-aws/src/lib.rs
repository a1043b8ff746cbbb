//! AWS IoT Core's spelling of the hub: topics, policies, shadows and the signed HTTPS API.

pub mod policies;
pub mod rest;
pub mod sigv4;
