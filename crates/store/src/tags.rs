//! Tags in `registry.db`.

use registry::{Resource, Tags};
use rusqlite::params;

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{all, run},
};

impl ReadTxn<'_> {
    /// The tags of `resource`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn tags(&self, resource: &Resource) -> Result<Tags, Failure> {
        let tags = all(
            self.file(),
            "SELECT key, value FROM tags WHERE resource = ?1 ORDER BY key",
            [resource.to_string()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(Tags::from_stored(tags.into_iter().collect()))
    }
}

impl WriteTxn<'_> {
    /// Replaces the tags of `resource`; none removes them.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_tags(&mut self, resource: &Resource, tags: &Tags) -> Result<(), Failure> {
        let resource = resource.to_string();
        run(
            self.file(),
            "DELETE FROM tags WHERE resource = ?1",
            [&resource],
        )?;
        for (key, value) in tags.as_map() {
            run(
                self.file(),
                "INSERT INTO tags (resource, key, value) VALUES (?1, ?2, ?3)",
                params![resource, key, value],
            )?;
        }
        Ok(())
    }
}
