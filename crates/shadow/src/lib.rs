//! Device shadows: one JSON document per (device, name), written by two hands.
//!
//! Applications write `desired`, devices write `reported`. A [`Patch`] is parsed once from what a
//! peer sent, [`Document::apply`] merges it and returns the [`Change`] that subscribers are told
//! about, and [`wire`] renders what they are told. Everything here is a pure function of its
//! arguments; documents are kept by `store::shadows`, carried out by `hub::shadows`, and spelled
//! for devices by the dialects ("shadow", "twin").
//!
//! Source: AWS IoT Core Developer Guide, "Device Shadow service documents" and "Device Shadow MQTT
//! topics"; the merge is RFC 7396.

mod document;
mod error;
pub mod exercise;
mod number;
mod patch;
mod stamps;
pub mod wire;

pub use document::{Change, Delta, Document, Section, TOMBSTONE_LIFE, Tombstone, Version};
pub use error::{InvalidRequest, UpdateError, no_such_shadow};
pub use patch::{ClientToken, Limits, Patch, Request, SectionPatch};
pub use stamps::{InvalidStamps, Stamp, Stamps};

/// A JSON object in the order its keys were written.
pub type Object = serde_json::Map<String, serde_json::Value>;
