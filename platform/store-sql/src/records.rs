//! Call records, and how far the spine is folded into them.

use std::sync::{Arc, LazyLock};

use sansio::WallTime;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Encode, QueryBuilder, Row, SqlSafeStr, Sqlite, SqliteConnection, Type};
use store::{
    Applied, CallClose, CallRecord, FoldPosition, MAX_PAGE, MediaStats, MediaWay, RecordFilter,
    RecordOp, Records, Reply, SequencedOp, StoreError,
};

use crate::open::SqlStore;
use crate::rows::{self, millis, signed, unsigned};

const INSERT: &str = "INSERT OR IGNORE INTO records (call, session_id, call_id, tenant, from_uri,
    to_uri, source, user_agent, started_at, ringing_at, answered_at, ended_at, cause, status,
    q850, ended_by, codecs, caller_codec, caller_packets, caller_lost, caller_jitter_ms, caller_bytes,
    caller_way, callee_codec, callee_packets, callee_lost, callee_jitter_ms, callee_bytes, callee_way,
    recording,
    opened_epoch, opened_seq) VALUES ";

const ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Columns of a row.
const COLUMNS: usize = 32;

/// Rows of one statement: only these, so that each is prepared once. Each statement is a trip to the
/// thread of SQLite and back, which costs more than a row.
const ROWS: [usize; 5] = [256, 64, 16, 4, 1];

const CLOSE: &str =
    "UPDATE records SET ended_at = ?, cause = ?, status = ?, q850 = ?, ended_by = ?,
    codecs = CASE codecs WHEN '' THEN ? ELSE codecs END,
    caller_codec = ?, caller_packets = ?, caller_lost = ?, caller_jitter_ms = ?, caller_bytes = ?,
    caller_way = ?,
    callee_codec = ?, callee_packets = ?, callee_lost = ?, callee_jitter_ms = ?, callee_bytes = ?,
    callee_way = ?, recording = ?
    WHERE ended_at IS NULL AND ";

/// Filled by reference: a query that takes its arguments one by one is moved for each.
#[derive(Default)]
struct Bound {
    arguments: SqliteArguments,
    refused: Option<sqlx::Error>,
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

impl Records for SqlStore {
    fn apply<'a>(
        &'a self,
        consumer: &'a str,
        epoch: u64,
        ops: &'a [SequencedOp],
        upto: u64,
    ) -> Reply<'a, Applied> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            let applied =
                apply(&mut tx, consumer, epoch, ops, upto).await.map_err(|e| self.fail(e))?;
            self.commit(tx).await?;
            Ok(applied)
        })
    }

    fn position<'a>(&'a self, consumer: &'a str) -> Reply<'a, FoldPosition> {
        Box::pin(async move {
            let mut reader = self.readers.acquire().await.map_err(|e| self.fail(e))?;
            position(&mut reader, consumer).await.map_err(|e| self.fail(e))
        })
    }

    fn close_abandoned<'a>(
        &'a self,
        epoch: u64,
        first_seq: u64,
        close: &'a CallClose,
    ) -> Reply<'a, Vec<CallRecord>> {
        Box::pin(async move {
            let update = format!("{CLOSE} (opened_epoch <> ? OR opened_seq < ?) RETURNING *");
            let mut bound = Bound::default();
            bound.close(close);
            bound.add(signed(epoch)).add(signed(first_seq));
            let query = bound.query(sqlx::AssertSqlSafe(update)).map_err(|e| self.fail(e))?;
            self.records_of(query.fetch_all(&self.writer).await)
        })
    }

    fn list<'a>(
        &'a self,
        filter: &'a RecordFilter,
        limit: u32,
        before: Option<WallTime>,
    ) -> Reply<'a, Vec<CallRecord>> {
        Box::pin(async move {
            let mut query = select(filter, before);
            query.push(" ORDER BY started_at DESC, call LIMIT ").push_bind(limit.min(MAX_PAGE));
            self.records_of(query.build().fetch_all(&self.readers).await)
        })
    }

    fn record(&self, call: u64) -> Reply<'_, Option<CallRecord>> {
        Box::pin(async move {
            let query = sqlx::query("SELECT * FROM records WHERE call = ?").bind(signed(call));
            self.records_of(query.fetch_all(&self.readers).await).map(|mut found| found.pop())
        })
    }

    fn open_calls(&self) -> Reply<'_, Vec<CallRecord>> {
        Box::pin(async move {
            let select = "SELECT * FROM records WHERE ended_at IS NULL
                          ORDER BY started_at DESC, call LIMIT ?";
            let query = sqlx::query(select).bind(MAX_PAGE);
            self.records_of(query.fetch_all(&self.readers).await)
        })
    }

    fn open(&self, record: CallRecord) -> Reply<'_, bool> {
        self.step(RecordOp::Open(Box::new(record)))
    }

    fn close(&self, call: u64, close: CallClose) -> Reply<'_, bool> {
        self.step(RecordOp::Close { call, close: Box::new(close) })
    }

    fn step(&self, op: RecordOp) -> Reply<'_, bool> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            let position = FoldPosition::default();
            let changed = step(&mut tx, &op, position).await.map_err(|e| self.fail(e))?;
            self.commit(tx).await?;
            Ok(changed)
        })
    }
}

impl SqlStore {
    fn records_of(
        &self,
        found: Result<Vec<SqliteRow>, sqlx::Error>,
    ) -> Result<Vec<CallRecord>, StoreError> {
        let rows = found.map_err(|e| self.fail(e))?;
        rows.iter().map(rows::record).collect::<Result<_, _>>().map_err(|e| self.fail(e))
    }
}

async fn apply(
    tx: &mut SqliteConnection,
    consumer: &str,
    epoch: u64,
    ops: &[SequencedOp],
    upto: u64,
) -> Result<Applied, sqlx::Error> {
    let mut at = position(tx, consumer).await?;
    if at.epoch != epoch {
        at = FoldPosition { epoch, seq: 0 };
    }
    let fresh = || ops.iter().filter(|op| op.seq > at.seq);
    let replayed = (ops.len() - fresh().count()) as u64;
    let mut applied = Applied { replayed, ..Applied::default() };
    let mut records: Vec<(&CallRecord, u64)> = fresh().filter_map(opened).collect();
    // In the order of the table, whose pages are then written once each; a second opening is none.
    records.sort_by_key(|(record, seq)| (signed(record.call), *seq));
    records.dedup_by_key(|(record, _)| record.call);
    applied.opened = insert_all(tx, &records, epoch).await?;
    applied.closed = records.iter().filter(|(record, _)| !record.is_open()).count() as u64;
    if applied.opened < records.len() as u64 {
        // Some were known by another way: what became of them since is told step by step. It
        // changes nothing where the row was new.
        applied.closed = 0;
        for (record, _) in &records {
            for later in record.later_steps() {
                let closed = step(tx, &later, at).await?;
                applied.closed += u64::from(closed && matches!(later, RecordOp::Close { .. }));
            }
        }
    }
    for op in fresh().map(|op| &op.op).filter(|op| !matches!(op, RecordOp::Open(_))) {
        let closed = step(tx, op, at).await?;
        applied.closed += u64::from(closed && matches!(op, RecordOp::Close { .. }));
    }
    at.seq = at.seq.max(upto);
    sqlx::query("INSERT OR REPLACE INTO positions (consumer, epoch, seq) VALUES (?, ?, ?)")
        .bind(consumer)
        .bind(signed(at.epoch))
        .bind(signed(at.seq))
        .execute(tx)
        .await?;
    Ok(applied)
}

fn opened(op: &SequencedOp) -> Option<(&CallRecord, u64)> {
    match &op.op {
        RecordOp::Open(record) => Some((record, op.seq)),
        _ => None,
    }
}

/// Inserts records, many in one statement; how many were not known.
async fn insert_all(
    tx: &mut SqliteConnection,
    mut records: &[(&CallRecord, u64)],
    epoch: u64,
) -> Result<u64, sqlx::Error> {
    let mut inserted = 0;
    while let Some(at) = ROWS.iter().position(|rows| *rows <= records.len()) {
        let (rows, rest) = records.split_at(ROWS[at]);
        let mut bound = Bound::default();
        bound.arguments.reserve(rows.len() * COLUMNS, 0);
        for (record, seq) in rows {
            bound.record(record, FoldPosition { epoch, seq: *seq });
        }
        let query = bound.query(insert_statement(at))?;
        inserted += query.execute(&mut *tx).await?.rows_affected();
        records = rest;
    }
    Ok(inserted)
}

/// The statement for so many rows as [`ROWS`] has at `at`.
fn insert_statement(at: usize) -> &'static str {
    static STATEMENTS: LazyLock<[String; ROWS.len()]> =
        LazyLock::new(|| ROWS.map(|rows| format!("{INSERT}{}", vec![ROW; rows].join(", "))));
    &STATEMENTS[at]
}

async fn position(
    connection: &mut SqliteConnection,
    consumer: &str,
) -> Result<FoldPosition, sqlx::Error> {
    let row = sqlx::query("SELECT epoch, seq FROM positions WHERE consumer = ?")
        .bind(consumer)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(FoldPosition::default()) };
    Ok(FoldPosition { epoch: unsigned(row.try_get(0)?), seq: unsigned(row.try_get(1)?) })
}

/// True if the step changed something.
async fn step(
    tx: &mut SqliteConnection,
    op: &RecordOp,
    at: FoldPosition,
) -> Result<bool, sqlx::Error> {
    let mut bound = Bound::default();
    let query = match op {
        RecordOp::Open(record) => {
            bound.record(record, at);
            bound.query(insert_statement(ROWS.len() - 1))?
        }
        RecordOp::Ringing { call, at } => {
            bound.add(millis(*at)).add(signed(*call));
            bound.query(
                "UPDATE records SET ringing_at = ?
                 WHERE call = ? AND ended_at IS NULL AND ringing_at IS NULL",
            )?
        }
        RecordOp::Answered { call, at, codecs } => {
            bound.add(millis(*at)).text(&codecs.join(",")).add(signed(*call));
            bound.query(
                "UPDATE records SET answered_at = ?, codecs = ?
                 WHERE call = ? AND ended_at IS NULL AND answered_at IS NULL",
            )?
        }
        RecordOp::Close { call, close } => {
            static UPDATE: LazyLock<String> = LazyLock::new(|| format!("{CLOSE} call = ?"));
            bound.close(close);
            bound.add(signed(*call));
            bound.query(UPDATE.as_str())?
        }
        // A step of a newer `store` than this crate knows cannot be stored; both are built together.
        _ => return Ok(false),
    };
    Ok(query.execute(tx).await?.rows_affected() > 0)
}

impl Bound {
    fn add<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> &mut Self {
        if let Err(e) = self.arguments.add(value) {
            self.refused = Some(sqlx::Error::Encode(e));
        }
        self
    }

    /// One allocation, where a `&str` takes two.
    fn text(&mut self, text: &str) -> &mut Self {
        self.add(Arc::<str>::from(text))
    }

    fn record(&mut self, r: &CallRecord, at: FoldPosition) {
        self.add(signed(r.call));
        for text in [&r.session_id, &r.call_id, &r.tenant, &r.from, &r.to, &r.source, &r.user_agent]
        {
            self.text(text);
        }
        self.add(millis(r.started_at))
            .add(r.ringing_at.map(millis))
            .add(r.answered_at.map(millis))
            .add(r.ended_at.map(millis))
            .text(&r.cause)
            .add(r.status)
            .add(r.q850)
            .text(&r.ended_by)
            .text(&r.codecs.join(","));
        self.media(&r.caller);
        self.media(&r.callee);
        self.text(&rows::recording_text(&r.recording));
        self.add(signed(at.epoch)).add(signed(at.seq));
    }

    fn close(&mut self, close: &CallClose) {
        self.add(millis(close.at)).text(&close.cause).add(close.status);
        self.add(close.q850).text(&close.ended_by).text(&close.codecs().join(","));
        self.media(&close.caller);
        self.media(&close.callee);
        self.text(&rows::recording_text(&close.recording));
    }

    fn media(&mut self, media: &MediaStats) {
        // SQLite turns NaN into NULL, which the column refuses.
        let jitter_ms = if media.jitter_ms.is_finite() { media.jitter_ms } else { 0.0 };
        self.text(&media.codec)
            .add(signed(media.packets))
            .add(signed(media.lost))
            .add(jitter_ms)
            .add(signed(media.bytes));
        // Numbers and words of ours: writing them cannot fail.
        let way = |way: &MediaWay| serde_json::to_string(way).unwrap_or_default();
        self.text(&media.way.as_ref().map(way).unwrap_or_default());
    }

    fn query<'q>(self, statement: impl SqlSafeStr) -> Result<Query<'q>, sqlx::Error> {
        match self.refused {
            Some(refused) => Err(refused),
            None => Ok(sqlx::query_with(statement, self.arguments)),
        }
    }
}

fn select(filter: &RecordFilter, before: Option<WallTime>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM records WHERE 1");
    if let Some(tenant) = &filter.tenant {
        query.push(" AND tenant = ").push_bind(tenant.clone());
    }
    if let Some(party) = &filter.party {
        query.push(" AND (from_uri = ").push_bind(party.clone());
        query.push(" OR to_uri = ").push_bind(party.clone()).push(")");
    }
    if let Some(call_id) = &filter.call_id {
        query.push(" AND call_id = ").push_bind(call_id.clone());
    }
    if let Some(since) = filter.since {
        query.push(" AND started_at >= ").push_bind(millis(since));
    }
    if let Some(before) = before {
        query.push(" AND started_at < ").push_bind(millis(before));
    }
    query
}
