//! What must be true of every template, however it came to be.

use std::collections::BTreeMap;

use model::limits;

use crate::{IMPLIED_PREFIX, Kind, Template, TemplateError};

/// Reads `bytes` as a template and, when it is one, checks that what is good for just-in-time
/// provisioning is good for fleets, that a template with all its parameters misses none, and that
/// what it makes stays within its bound.
///
/// # Errors
///
/// What did not hold, for a fuzzer or a test to show.
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    let simple = Template::parse(text, Kind::JustInTime);
    let template = match Template::parse(text, Kind::Fleet) {
        Ok(template) => template,
        Err(error) if simple.is_ok() => return Err(format!("only good for one kind: {error}")),
        Err(_) => return Ok(()),
    };
    let given: BTreeMap<String, String> = template
        .parameters()
        .keys()
        .map(|name| (name.clone(), "0".to_owned()))
        .collect();
    let known = ["Id", "CommonName", "Country", "SerialNumber"];
    let mut implied: BTreeMap<String, String> = known
        .into_iter()
        .map(|name| (format!("{IMPLIED_PREFIX}{name}"), "1".to_owned()))
        .collect();
    implied.extend(
        given
            .iter()
            .filter(|(name, _)| name.starts_with(IMPLIED_PREFIX))
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    match template.resolve(&implied, &given) {
        Ok(plan) => {
            let made: usize = plan.configuration.values().map(String::len).sum();
            if made > limits::TEMPLATE_RESULT_BYTES {
                return Err(format!("it made {made} bytes"));
            }
            Ok(())
        }
        Err(TemplateError::Missing { name }) if given.contains_key(&name) => {
            Err(format!("{name} was given and is missing"))
        }
        Err(_) => Ok(()),
    }
}
