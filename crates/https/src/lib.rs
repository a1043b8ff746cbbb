//! The HTTPS listener: REST v1 for operators, and the door through which the clouds' APIs are reached.
