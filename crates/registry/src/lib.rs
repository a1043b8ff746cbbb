//! What a device, a group, a type and a certificate are, and which changes to them make sense.
