//! The language policies are written in, which belongs to a dialect.

use std::borrow::Cow;

use policy::Document;

/// Why a text is not a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct InvalidPolicy {
    /// Where in the text, such as `Statement[1].Action`.
    pub at: String,
    /// What was expected there.
    pub message: String,
}

/// Reads policy texts, and spells what policies speak about as their authors do.
pub trait PolicyLanguage: policy::Spelling + Send + Sync {
    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] says where the text is wrong and what was expected.
    fn parse(&self, text: &str) -> Result<Document, InvalidPolicy>;

    /// A canonical topic, as policies spell it.
    fn topic<'a>(&self, canonical: &'a str) -> Cow<'a, str>;

    /// A canonical topic filter, shared or not, as policies spell it.
    fn filter<'a>(&self, canonical: &'a str) -> Cow<'a, str>;

    /// The full name of a resource of this hub, such as `thing/T`, as authors write it.
    fn resource_name(&self, resource: &str) -> String {
        resource.to_owned()
    }
}
