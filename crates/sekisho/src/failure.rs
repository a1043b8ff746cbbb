//! How a command fails, and what it exits with.

use std::{fmt, process::ExitCode};

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The hub said no, and why. Exit code 1.
    Refused(String),
    /// The command line, the folder or the machine is not as it must be. Exit code 2.
    Usage(String),
    /// A fault of ours. Exit code 3.
    Internal(String),
}

impl Failure {
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::Internal(message.to_string())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Internal(_) => ExitCode::from(3),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) | Self::Usage(message) => f.write_str(message),
            Self::Internal(message) => write!(f, "a fault of sekisho itself: {message}"),
        }
    }
}

impl std::error::Error for Failure {}
