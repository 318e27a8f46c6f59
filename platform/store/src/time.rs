//! [`WallTime`] in serde form: milliseconds since the epoch.

/// For `#[serde(with = "store::wall_millis")]`.
pub mod wall_millis {
    use sansio::WallTime;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes milliseconds since the epoch.
    ///
    /// # Errors
    /// Whatever the serializer reports.
    pub fn serialize<S: Serializer>(at: &WallTime, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(at.as_millis())
    }

    /// Reads milliseconds since the epoch.
    ///
    /// # Errors
    /// If it is no unsigned number.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<WallTime, D::Error> {
        u64::deserialize(d).map(WallTime::from_millis)
    }

    /// The same for an optional time.
    pub mod option {
        use super::{Deserialize, Deserializer, Serializer, WallTime};

        /// Writes milliseconds or null.
        ///
        /// # Errors
        /// Whatever the serializer reports.
        pub fn serialize<S: Serializer>(at: &Option<WallTime>, s: S) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => s.serialize_some(&at.as_millis()),
                None => s.serialize_none(),
            }
        }

        /// Reads milliseconds or null.
        ///
        /// # Errors
        /// If it is neither.
        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<WallTime>, D::Error> {
            Ok(Option::<u64>::deserialize(d)?.map(WallTime::from_millis))
        }
    }
}
