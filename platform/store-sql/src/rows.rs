//! Rows as values.

use sansio::WallTime;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use store::{
    Admin, AdminId, CallRecord, MediaStats, RecordingStep, Session, SessionKind, Subject, Tenant,
};
use store::{TenantId, TokenHash, UserId};

pub(crate) type Column<T> = Result<T, sqlx::Error>;

/// Milliseconds as SQLite keeps them; times beyond the year 292,000,000 do not occur.
pub(crate) fn millis(at: WallTime) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// The bits of an unsigned number.
pub(crate) fn signed(number: u64) -> i64 {
    number as i64
}

/// And back.
pub(crate) fn unsigned(number: i64) -> u64 {
    number as u64
}

pub(crate) fn time(row: &SqliteRow, column: &str) -> Column<WallTime> {
    Ok(WallTime::from_millis(unsigned(row.try_get(column)?)))
}

fn optional_time(row: &SqliteRow, column: &str) -> Column<Option<WallTime>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(|ms| WallTime::from_millis(unsigned(ms))))
}

pub(crate) fn tenant(row: &SqliteRow) -> Column<Tenant> {
    Ok(Tenant {
        id: TenantId(row.try_get("id")?),
        domain: row.try_get("domain")?,
        created_at: time(row, "created_at")?,
    })
}

pub(crate) fn admin(row: &SqliteRow) -> Column<Admin> {
    Ok(Admin {
        id: AdminId(row.try_get("id")?),
        name: row.try_get("name")?,
        password_hash: row.try_get("password_hash")?,
        created_at: time(row, "created_at")?,
    })
}

pub(crate) fn session(row: &SqliteRow, hash: TokenHash) -> Column<Session> {
    let subject: i64 = row.try_get("subject")?;
    let subject = match row.try_get::<i64, _>("subject_kind")? {
        0 => Subject::Admin(AdminId(subject)),
        _ => Subject::User(UserId(subject)),
    };
    let kind = match row.try_get::<i64, _>("kind")? {
        0 => SessionKind::Cookie,
        _ => SessionKind::Bearer,
    };
    let (created_at, expires_at) = (time(row, "created_at")?, time(row, "expires_at")?);
    Ok(Session { hash, subject, kind, created_at, expires_at })
}

pub(crate) fn subject_columns(subject: Subject) -> (i64, i64) {
    match subject {
        Subject::Admin(AdminId(id)) => (0, id),
        Subject::User(UserId(id)) => (1, id),
    }
}

pub(crate) fn record(row: &SqliteRow) -> Column<CallRecord> {
    let codecs: String = row.try_get("codecs")?;
    let answered_at = optional_time(row, "answered_at")?;
    Ok(CallRecord {
        call: unsigned(row.try_get("call")?),
        session_id: row.try_get("session_id")?,
        call_id: row.try_get("call_id")?,
        tenant: row.try_get("tenant")?,
        from: row.try_get("from_uri")?,
        to: row.try_get("to_uri")?,
        source: row.try_get("source")?,
        user_agent: row.try_get("user_agent")?,
        started_at: time(row, "started_at")?,
        ringing_at: optional_time(row, "ringing_at")?,
        answered: answered_at.is_some(),
        answered_at,
        ended_at: optional_time(row, "ended_at")?,
        cause: row.try_get("cause")?,
        status: row.try_get("status")?,
        q850: row.try_get("q850")?,
        ended_by: row.try_get("ended_by")?,
        codecs: codecs.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect(),
        caller: media(
            row,
            [
                "caller_codec",
                "caller_packets",
                "caller_lost",
                "caller_jitter_ms",
                "caller_bytes",
                "caller_way",
            ],
        )?,
        callee: media(
            row,
            [
                "callee_codec",
                "callee_packets",
                "callee_lost",
                "callee_jitter_ms",
                "callee_bytes",
                "callee_way",
            ],
        )?,
        recording: recording(row.try_get("recording")?),
    })
}

/// Steps of a recording as one column; empty for none.
pub(crate) fn recording_text(steps: &[RecordingStep]) -> String {
    match steps.is_empty() {
        true => String::new(),
        // Numbers and texts always become JSON.
        false => serde_json::to_string(steps).unwrap_or_default(),
    }
}

fn recording(text: &str) -> Vec<RecordingStep> {
    // Written by us; what a hand has spoilt must not hide the rest of the record.
    serde_json::from_str(text).unwrap_or_default()
}

fn media(row: &SqliteRow, columns: [&str; 6]) -> Column<MediaStats> {
    let [codec, packets, lost, jitter_ms, bytes, way] = columns;
    let way: String = row.try_get(way)?;
    Ok(MediaStats {
        codec: row.try_get(codec)?,
        packets: unsigned(row.try_get(packets)?),
        lost: unsigned(row.try_get(lost)?),
        jitter_ms: row.try_get(jitter_ms)?,
        bytes: unsigned(row.try_get(bytes)?),
        // What a newer version wrote and this one cannot read is left out.
        way: serde_json::from_str(&way).ok(),
    })
}
