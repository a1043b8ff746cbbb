//! The hub's certificate authority: its root, its server certificates and the certificates it issues to devices.
