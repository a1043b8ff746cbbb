//! The hub's own settings and the switches of its announcements, in `registry.db`.

use model::Timestamp;
use registry::{EventConfigurations, EventFamily};
use rusqlite::params;

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{all, millis, one, run},
};

const EVENTS_CREATED_AT: &str = "event-configurations.created-at";
const EVENTS_MODIFIED_AT: &str = "event-configurations.modified-at";

impl ReadTxn<'_> {
    /// The value of the setting `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn setting(&self, name: &str) -> Result<Option<String>, Failure> {
        one(
            self.file(),
            "SELECT value FROM settings WHERE name = ?1",
            [name],
            |row| Ok(row.get(0)?),
        )
    }

    /// Which changes of the registry are announced.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn event_configurations(&self) -> Result<EventConfigurations, Failure> {
        let stored: Vec<(String, bool)> = all(
            self.file(),
            "SELECT family, enabled FROM event_configurations",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let enabled = EventFamily::ALL
            .into_iter()
            .filter_map(|family| {
                let of_family = stored.iter().find(|(name, _)| name == family.as_str())?;
                Some((family, of_family.1))
            })
            .collect();
        let time = |name| -> Result<Option<Timestamp>, Failure> {
            let unreadable = |_| Failure::Unreadable { what: "setting" };
            let millis = self
                .setting(name)?
                .map(|text| text.parse().map_err(unreadable));
            Ok(millis.transpose()?.map(Timestamp::from_millis))
        };
        Ok(EventConfigurations {
            enabled,
            created_at: time(EVENTS_CREATED_AT)?,
            modified_at: time(EVENTS_MODIFIED_AT)?,
        })
    }
}

impl WriteTxn<'_> {
    /// Sets `name` to `value`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_setting(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)",
            params![name, value],
        )?;
        Ok(())
    }

    /// Forgets the setting `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_setting(&mut self, name: &str) -> Result<(), Failure> {
        run(self.file(), "DELETE FROM settings WHERE name = ?1", [name])?;
        Ok(())
    }

    /// Replaces the switches.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_event_configurations(
        &mut self,
        switches: &EventConfigurations,
    ) -> Result<(), Failure> {
        for (family, enabled) in &switches.enabled {
            run(
                self.file(),
                "INSERT OR REPLACE INTO event_configurations (family, enabled) VALUES (?1, ?2)",
                params![family.as_str(), enabled],
            )?;
        }
        for (name, time) in [
            (EVENTS_CREATED_AT, switches.created_at),
            (EVENTS_MODIFIED_AT, switches.modified_at),
        ] {
            if let Some(time) = time {
                self.put_setting(name, &millis(time).to_string())?;
            }
        }
        Ok(())
    }
}
