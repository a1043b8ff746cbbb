//! Wire types of REST v1, shared by the hub and its command line.
