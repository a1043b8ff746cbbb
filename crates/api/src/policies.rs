//! Policies.

use serde::{Deserialize, Serialize};

/// A policy in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// The version in force.
    pub version: u32,
    /// When it was created.
    pub created_at: u64,
    /// When it was changed last.
    pub modified_at: u64,
}

/// A policy with its text.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PolicyDetails {
    /// The policy.
    pub policy: Policy,
    /// The text in force.
    pub document: String,
    /// What it is attached to: `certificate/ID`, `group/NAME`. At most one page of it.
    pub targets: Vec<String>,
}

/// A policy to be created.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewPolicy {
    /// Its name.
    pub name: String,
    /// Its text.
    pub document: String,
}

/// Whose certificates a policy is to be attached to or detached from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTarget {
    /// The device.
    pub device: String,
}
