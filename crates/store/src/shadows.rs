//! Shadows: one row each, the document as JSON text.
//!
//! A read and the write that follows from it belong in one [`WriteTxn`]: transactions run one
//! after the other, so no write is lost between them.

use model::{Address, ShadowName, Timestamp};
use rusqlite::{OptionalExtension, params};
use serde_json::{Value, json};
use shadow::{Document, Object, Section, Stamps, Tombstone, Version};

use crate::{Failure, ReadTxn, WriteTxn};

/// What is kept of a shadow.
#[derive(Clone, Debug, PartialEq)]
pub enum KeptShadow {
    /// It exists.
    Document(Box<Document>),
    /// It was deleted.
    Tombstone(Tombstone),
}

impl ReadTxn<'_> {
    /// What is kept of a device's shadow; `None` when there never was one, or long ago.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the file cannot be read.
    pub fn shadow(
        &self,
        address: &Address,
        name: Option<&ShadowName>,
    ) -> Result<Option<KeptShadow>, Failure> {
        let (device, module, name) = key(address, name);
        let row: Option<(i64, Option<String>, i64)> = self
            .file()
            .prepare_cached(
                "SELECT version, document, at FROM shadows
                 WHERE device = ?1 AND module = ?2 AND name = ?3",
            )?
            .query_row(params![device, module, name], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((version, text, at)) = row else {
            return Ok(None);
        };
        let (version, at) = (
            Version(version.unsigned_abs()),
            Timestamp::from_millis(at.unsigned_abs()),
        );
        Ok(Some(match text {
            Some(text) => KeptShadow::Document(Box::new(
                decode(&text, version, at).ok_or(Failure::Unreadable { what: "shadow" })?,
            )),
            None => KeptShadow::Tombstone(Tombstone {
                version,
                deleted: at,
            }),
        }))
    }

    /// The names of a device's named shadows in order, at most `limit` of them, beginning after
    /// `after`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the file cannot be read.
    pub fn shadow_names(
        &self,
        address: &Address,
        after: Option<&ShadowName>,
        limit: usize,
    ) -> Result<Vec<ShadowName>, Failure> {
        let (device, module, after) = key(address, after);
        let mut statement = self.file().prepare_cached(
            "SELECT name FROM shadows
             WHERE device = ?1 AND module = ?2 AND name > ?3 AND document IS NOT NULL
             ORDER BY name LIMIT ?4",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let names = statement.query_map(params![device, module, after, limit], |row| {
            row.get::<_, String>(0)
        })?;
        names
            .map(|name| {
                ShadowName::new(&name?).map_err(|_| Failure::Unreadable {
                    what: "shadow's name",
                })
            })
            .collect()
    }

    /// How many shadows a device has, deleted ones included that are still remembered.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the file cannot be read.
    pub fn shadow_count(&self, address: &Address) -> Result<usize, Failure> {
        let (device, module, _) = key(address, None);
        let count: i64 = self
            .file()
            .prepare_cached("SELECT count(*) FROM shadows WHERE device = ?1 AND module = ?2")?
            .query_row(params![device, module], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

impl WriteTxn<'_> {
    /// Keeps a shadow in place of what was kept before.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the file cannot be written.
    pub fn put_shadow(
        &mut self,
        address: &Address,
        name: Option<&ShadowName>,
        document: &Document,
    ) -> Result<(), Failure> {
        let at = document.written.unwrap_or_default();
        let text = Some((encode(document), document.desired.version));
        self.put(address, name, document.version, text, at)
    }

    /// Remembers of a shadow only that it was deleted, and forgets those deleted too long ago.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the file cannot be written.
    pub fn bury_shadow(
        &mut self,
        address: &Address,
        name: Option<&ShadowName>,
        tombstone: &Tombstone,
    ) -> Result<(), Failure> {
        self.file()
            .prepare_cached("DELETE FROM shadows WHERE document IS NULL AND at <= ?1")?
            .execute([integer(
                tombstone.deleted.before(shadow::TOMBSTONE_LIFE).millis(),
            )])?;
        self.put(address, name, tombstone.version, None, tombstone.deleted)
    }

    fn put(
        &mut self,
        address: &Address,
        name: Option<&ShadowName>,
        Version(version): Version,
        document: Option<(String, Version)>,
        at: Timestamp,
    ) -> Result<(), Failure> {
        let (device, module, name) = key(address, name);
        let (document, desired) = document.unzip();
        let Version(desired) = desired.unwrap_or_default();
        self.file()
            .prepare_cached(
                "INSERT INTO shadows (device, module, name, version, document, at, desired_version)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (device, module, name)
                 DO UPDATE SET version = ?4, document = ?5, at = ?6, desired_version = ?7",
            )?
            .execute(params![
                device,
                module,
                name,
                integer(version),
                document,
                integer(at.millis()),
                integer(desired),
            ])?;
        Ok(())
    }
}

fn key<'a>(address: &'a Address, name: Option<&'a ShadowName>) -> (&'a str, &'a str, &'a str) {
    (
        address.device.as_str(),
        address.module.as_ref().map_or("", |module| module.as_str()),
        name.map_or("", ShadowName::as_str),
    )
}

/// SQLite's integers are signed.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn encode(document: &Document) -> String {
    let section = |section: &Section| {
        json!({
            "state": section.state,
            "stamps": section.stamps.to_json(),
            "version": section.version.0,
        })
    };
    json!({
        "desired": section(&document.desired),
        "reported": section(&document.reported),
    })
    .to_string()
}

fn decode(text: &str, version: Version, written: Timestamp) -> Option<Document> {
    let mut root: Object = serde_json::from_str(text).ok()?;
    let mut section = |name: &str| {
        let mut kept = root.get_mut(name)?.take();
        Some(Section {
            state: match kept.get_mut("state")?.take() {
                Value::Null => None,
                Value::Object(members) => Some(members),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    return None;
                }
            },
            stamps: Stamps::from_json(kept.get("stamps")?).ok()?,
            version: Version(kept.get("version")?.as_u64()?),
        })
    };
    Some(Document {
        desired: section("desired")?,
        reported: section("reported")?,
        version,
        written: Some(written),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shadow::{Limits, Patch, TOMBSTONE_LIFE};

    use super::*;
    use crate::Store;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_001);

    #[tokio::test]
    async fn a_shadow_reads_back_as_it_was_written() {
        let store = Store::open_temporary().unwrap();
        let (device, name) = (device("T"), "S".parse().unwrap());
        let mut document = Document::default();
        for request in [
            r#"{"state":{"desired":{"z":1.50,"a":{"b":[1,{}],"c":{}}},"reported":{}}}"#,
            r#"{"state":{"desired":{"m":12345678901234567890123}}}"#,
        ] {
            let limits = Limits::default();
            let patch = Patch::parse(request.as_bytes(), &limits).unwrap();
            document.apply(patch, &limits, NOW).unwrap();
        }
        put(&store, &device, Some(&name), &document).await;
        let kept = get(&store, &device, Some(&name)).unwrap();
        assert_eq!(kept, KeptShadow::Document(Box::new(document.clone())));
        let KeptShadow::Document(kept) = kept else {
            panic!("compared above");
        };
        // Equality of objects does not see the order of their members.
        assert_eq!(encode(&kept), encode(&document));
        assert_eq!(get(&store, &device, None), None);
    }

    #[tokio::test]
    async fn a_deleted_shadow_is_remembered_for_a_while() {
        let store = Store::open_temporary().unwrap();
        let document = Document {
            version: Version(7),
            written: Some(NOW),
            ..Document::default()
        };
        let (gone, other) = (device("gone"), device("other"));
        put(&store, &gone, None, &document).await;
        let tombstone = bury(&store, &gone, &document, NOW).await;
        assert_eq!(
            get(&store, &gone, None),
            Some(KeptShadow::Tombstone(tombstone))
        );
        let almost = NOW.after(TOMBSTONE_LIFE - Duration::from_millis(1));
        bury(&store, &other, &document, almost).await;
        assert!(get(&store, &gone, None).is_some());
        bury(&store, &other, &document, NOW.after(TOMBSTONE_LIFE)).await;
        assert_eq!(get(&store, &gone, None), None);
    }

    #[tokio::test]
    async fn names_are_listed_in_order_and_in_pages() {
        let store = Store::open_temporary().unwrap();
        let device = device("T");
        let document = Document {
            written: Some(NOW),
            ..Document::default()
        };
        for name in ["c", "a", "d", "b"] {
            put(&store, &device, Some(&name.parse().unwrap()), &document).await;
        }
        put(&store, &device, None, &document).await;
        let page = |after: Option<&str>, limit| -> Vec<String> {
            let after = after.map(|name| name.parse().unwrap());
            store
                .read::<_, Failure>(|txn| txn.shadow_names(&device, after.as_ref(), limit))
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(page(None, 3), ["a", "b", "c"]);
        assert_eq!(page(Some("c"), 3), ["d"]);
        assert_eq!(page(Some("d"), 3), [""; 0]);
        let count = store.read::<_, Failure>(|txn| txn.shadow_count(&device));
        assert_eq!(count.unwrap(), 5);
    }

    fn device(name: &str) -> Address {
        Address {
            device: name.parse().unwrap(),
            module: None,
        }
    }

    fn get(store: &Store, address: &Address, name: Option<&ShadowName>) -> Option<KeptShadow> {
        store
            .read::<_, Failure>(|txn| txn.shadow(address, name))
            .unwrap()
    }

    async fn put(store: &Store, address: &Address, name: Option<&ShadowName>, kept: &Document) {
        let (address, name, kept) = (address.clone(), name.cloned(), kept.clone());
        store
            .write::<_, Failure>(move |txn| {
                txn.put_shadow(&address, name.as_ref(), &kept)?;
                txn.changes(&[7; 32]).map(drop)
            })
            .await
            .unwrap();
    }

    async fn bury(store: &Store, address: &Address, kept: &Document, now: Timestamp) -> Tombstone {
        let tombstone = kept.delete(None, now).unwrap();
        let address = address.clone();
        store
            .write::<_, Failure>(move |txn| {
                txn.bury_shadow(&address, None, &tombstone)?;
                txn.changes(&[7; 32]).map(drop)
            })
            .await
            .unwrap();
        tombstone
    }
}
