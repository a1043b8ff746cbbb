//! The hub's certificate authority: its root, its server certificates and the certificates it
//! issues to devices.
//!
//! Pure bytes: no files, no clock. Randomness is drawn here, for keys and serial numbers. The
//! caller keeps what it is given; private keys travel as [`PrivateKeyPem`], which is wiped when
//! dropped and cannot be printed by accident. [`Authority`] signs through the [`Signer`] trait,
//! so that a root key may live in hardware.
//!
//! Certificates are encoded here rather than by a library because a device's subject must be
//! carried over byte by byte from its request, repeated attributes included.

mod authority;
mod der;
mod encode;
mod key;
mod names;

pub use authority::{Authority, DeviceIdentity, IssueError, OpenError, ServerIdentity};
pub use key::{DeviceKey, KeyError, P256Signer, PrivateKeyPem, Signer};
pub use names::{InvalidServerName, ServerName, Subject};
